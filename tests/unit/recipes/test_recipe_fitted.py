"""The recipe that fits a data set: it fits, it learns, and it can be written to a file and read again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from littoral_cloud.data.dataset import Dataset
from littoral_cloud.factory.checks import check_recipe
from littoral_cloud.recipes.fitted import MANY, as_toml, fitted
from littoral_cloud.recipes.recipe import DEMO
from littoral_cloud.recipes.recipe_file import parse_recipe
from tests.kit.images import bars
from tests.kit.measured import series, table


def repeated(data: Dataset, count: int) -> Dataset:
    index = np.arange(count) % len(data.train_y)
    return replace(data, train_x=data.train_x[index], train_y=data.train_y[index])


def test_many_small_images_get_the_demos_recipe_as_it_is() -> None:
    many = repeated(bars(size=12), MANY)
    assert fitted(many, "digits") == DEMO
    assert fitted(many).model == "bars"


@pytest.mark.parametrize("size", [5, 12, 250])
def test_every_size_of_image_fits(size: int) -> None:
    if size == 5:
        data = repeated(bars(30, size=12), 24)
        data = replace(data, train_x=data.train_x[..., :5, :5], test_x=data.test_x[..., :5, :5])
    else:
        data = bars(30, channels=3, size=size)
    for quick in (False, True):
        recipe = fitted(data, quick=quick)
        check_recipe(recipe, data)
        assert len({student.architecture["name"] for student in recipe.students} - {"linear"}) == 2
        assert ("resolution" in recipe.students[0].architecture) == (size == 250)


@pytest.mark.parametrize("quick", [False, True])
def test_it_is_written_to_a_file_that_says_the_same(quick: bool) -> None:
    recipe = fitted(bars(), "it-is.mine_0", quick=quick)
    text = as_toml(recipe, 'for "bars" \\ and\nmore')
    assert parse_recipe(text, what="r.toml") == recipe


@pytest.mark.parametrize("data", [table(60), series(60)], ids=["table", "series"])
def test_tables_and_series_fit_too(data: Dataset) -> None:
    for quick in (False, True):
        check_recipe(fitted(data, quick=quick), data)
    assert parse_recipe(as_toml(fitted(data), "x"), what="r.toml") == fitted(data)
