"""Tables and series through the factory: how they are normalized, what is refused, what travels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from littoral.architectures import sizes_of, takes
from littoral.errors import BadInput
from littoral.preparation import Input
from littoral_cloud.data.dataset import assemble
from littoral_cloud.factory.checks import check_recipe
from littoral_cloud.packaging.package import Bench
from littoral_cloud.recipes.recipe import TINY, OnnxRecipe, Production, StudentRecipe, TeacherRecipe
from littoral_cloud.recipes.recipe_file import USUAL, recipe_named
from littoral_cloud.teachers.teacher import prepared_as
from littoral_cloud.training.augmentation import Augment
from littoral_cloud.training.preparation import MUTED, input_of, noted
from littoral_cloud.training.schedule import Schedule
from tests.kit.images import bars
from tests.kit.measured import rows, series, table

MLP = {"name": "perceptron", "widths": [8]}


def test_each_feature_has_its_own_mean_and_deviation() -> None:
    data = table()
    given = input_of(data)
    assert (given.shape, given.scale, len(given.mean), given.resize) == ((5,), 1.0, 5, None)
    prepared = given.prepare(data.train_x)
    np.testing.assert_allclose(prepared.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(prepared.std(0), [1, 1, 1, 1, 0], atol=1e-3)
    channels = input_of(series()).prepare(series().train_x)
    np.testing.assert_allclose(channels.std((0, 2)), 1, atol=1e-3)


def test_a_feature_of_one_value_is_muted_and_said() -> None:
    data = table()
    assert input_of(data).std[4] == pytest.approx(MUTED)
    assert noted(data) == ["column 4 has one value in training, and is muted"]
    many = assemble("d", np.ones((6, 12)), np.arange(6) % 2, np.ones((2, 12)), np.arange(2))
    assert noted(many) == ["columns 0, 1, 2, 3, 4, 5, 6, 7 and 4 more have one value in training, and are muted"]
    other = data.test_x.copy()
    other[:, 4] = -1e6
    np.testing.assert_array_equal(np.round(input_of(data).prepare(other)[:, 4], 6), 0)
    assert noted(bars()) == noted(series()) == []


def test_a_feature_that_moves_less_than_float32_can_hold_counts_as_one_value() -> None:
    x, y = rows()
    x[:, 0] = 1e9 + np.arange(len(x)) * 1e-3
    data = assemble("d", x, y, x, y)
    assert input_of(data).std[0] == pytest.approx(MUTED)


def test_the_sketch_counts_measured_values_as_the_model_sees_them() -> None:
    data = table()
    bench = Bench.of(data)
    moved = data.train_x.copy()
    moved[:, 3] += 5e-3  # thousandths, beside a column in ten thousands
    from littoral.sketch import Sketch, shift

    def counted(x: np.ndarray) -> np.ndarray:
        sketch = Sketch(bench.sketch)
        sketch.add(bench.input.sketched(x, bench.input.prepare(x)))
        return sketch.take().counts

    half = len(moved) // 2
    assert shift(counted(data.train_x[:half]), counted(data.train_x[half:])) < 0.1
    assert shift(counted(data.train_x[:half]), counted(moved[half:])) > 1.0


@pytest.mark.parametrize(
    ("student", "said"),
    [
        (StudentRecipe("s", MLP, 1, Schedule(shift=1)), r"student s: schedule\.shift moves images, readings holds table"),
        (StudentRecipe("s", MLP, 1, Schedule(augment=Augment())), r"schedule\.augment moves images"),
        (
            StudentRecipe("s", {"name": "compact_cnn"}, 1),
            r"student s: architecture\.name: compact_cnn takes images, the data are a table",
        ),
        (StudentRecipe("s", {"name": "depthwise_1d"}, 1), r"depthwise_1d takes series or images"),
    ],
)
def test_what_is_for_images_is_refused_before_anything_is_trained(student: StudentRecipe, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        check_recipe(Production("m", None, (student,)), table())
    if "moves" in said:
        teacher = TeacherRecipe(MLP, 1, student.schedule)
        with pytest.raises(BadInput, match="teacher: schedule"):
            check_recipe(Production("m", teacher, (replace(student, schedule=Schedule()),)), table())


def test_a_recipe_for_images_says_what_would_take_a_table() -> None:
    with pytest.raises(BadInput) as refused:
        check_recipe(TINY, table())
    assert "perceptron" in refused.value.hint


def test_every_kind_of_data_has_a_recipe_that_fits_it() -> None:
    for data in (bars(size=28), table(), series()):
        check_recipe(recipe_named(USUAL[data.kind]), data)


def test_a_foreign_teacher_of_a_table_is_not_prepared_as_pixels() -> None:
    with pytest.raises(BadInput, match=r"teacher\.prepare: speaks of pixels over 255"):
        prepared_as(OnnxRecipe("x", prepare="unit"), table())
    with pytest.raises(BadInput, match=r"teacher\.mean: speaks of pixels"):
        prepared_as(OnnxRecipe("x", mean=(0.5,), std=(0.5,)), table())
    assert prepared_as(OnnxRecipe("x", prepare="raw"), table()) == Input("input", (5,), 1.0, (0.0,), (1.0,))


def test_sizes_for_an_architecture() -> None:
    assert sizes_of(MLP, (7,)) == {"channels": 7, "height": 1, "width": 1}
    assert sizes_of(MLP, (3, 50)) == {"channels": 3, "height": 1, "width": 50}
    assert sizes_of({"name": "lenet5"}, (1, 28, 20)) == {"channels": 1, "height": 28, "width": 20}
    assert takes("perceptron") == ("images", "table", "series")
    with pytest.raises(BadInput, match=r"architecture\.name: 'net' is not known"):
        sizes_of({"name": "net"}, (3,))
