"""What counts as the smallest artifact, and that the recipes are what the bench takes them for."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from bench.factory.tables import held_out
from bench.search import smallest
from bench.search.smallest import RECIPES, Point, figures_of, judged, seeded_student
from cloud.data.sources import load_mnist
from cloud.factory.codebook import Codebook
from cloud.factory.damage import Damage
from cloud.factory.preparation import input_of
from cloud.factory.recipe_file import recipe_named
from cloud.factory.recipes import EnsembleRecipe
from cloud.factory.training import Trained
from littoral.architectures import build


def point(recipe: str, *rows: tuple[float, int], held: float = 1.0) -> Point:
    return Point(recipe, tuple({"test": test, "bytes": size, "held": held} for test, size in rows))


def test_the_fewest_bytes_whose_median_is_accurate_enough_are_the_figure() -> None:
    small = point("small", (0.9910, 1400), (0.9890, 1410), (0.9905, 1420))
    large = point("large", (0.9931, 2800), (0.9929, 2810), (0.9935, 2700))
    found = figures_of([small, large])
    assert {name: figure.value for name, figure in found.items()} == {"bytes_at_99_0": 1410, "bytes_at_99_3": 2800}
    assert "small: 99.10 % in 1,400 B" in found["bytes_at_99_0"].note


def test_bytes_of_a_recipe_that_falls_short_are_not_its_figure() -> None:
    small = point("small", (0.9890, 1400), (0.9891, 1410), (0.9905, 1420))
    large = point("large", (0.9925, 2800), (0.9929, 2810), (0.9935, 2700))
    found = figures_of([small, large])
    assert list(found) == ["bytes_at_99_0"]
    assert found["bytes_at_99_0"].value == 2800, "the larger one is accurate enough for that"


def test_what_falls_short_on_the_held_out_images_is_no_figure_whatever_the_test_images_say() -> None:
    lucky = point("lucky", (0.9910, 1400), (0.9920, 1410), (0.9905, 1420), held=0.9899)
    assert figures_of([lucky]) == {}


def test_a_recipes_other_seeds_are_the_same_but_for_the_seed() -> None:
    for recipe in RECIPES:
        student = recipe_named(recipe).students[0]
        other = seeded_student(student, 7)
        cuts, book = other.methods
        assert isinstance(cuts, Damage)
        assert isinstance(book, Codebook)
        assert (other.seed, cuts.seed, book.seed) == (7, 7, 7)
        assert seeded_student(other, student.seed) == seeded_student(student, student.seed)
    assert isinstance(smallest._teacher_recipe(), EnsembleRecipe)


def test_a_file_is_judged_as_a_node_decodes_it() -> None:
    torch.manual_seed(1)
    spec: Mapping[str, object] = {"name": "compact_cnn", "widths": [4, 4], "stem": 5}
    net = build(spec, channels=1, height=28, width=28, classes=10)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_((parameter * 8).round() / 8 + 0.0)
    row = judged(Trained.of("net", net, spec, input_of(held_out()), 0.0))
    assert row["agrees"] >= 9_999, "of the test images; both runtimes may round a tie their own way"
    assert row["bytes"] < row["zstd"] < row["file"]
    assert 0.02 < row["test"] < 0.4
    assert len(load_mnist().test_y) == 10_000
