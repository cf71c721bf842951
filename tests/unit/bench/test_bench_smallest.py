"""What counts as the smallest artifact, and that the recipes are what the bench takes them for."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch

from bench.factory.tables import held_out
from bench.search.smallest import RECIPES, WANTED, Point, figures_of, judged, seeded_student
from littoral.architectures import build
from littoral_cloud.compression.saliency_pruning import Saliency
from littoral_cloud.compression.weight_sharing import WeightSharing
from littoral_cloud.data.sources import load_mnist
from littoral_cloud.recipes.recipe import EnsembleRecipe
from littoral_cloud.recipes.recipe_file import recipe_named
from littoral_cloud.training.preparation import input_of
from littoral_cloud.training.train import Trained

LOW, MIDDLE, HIGH = WANTED
SIZES = (1400, 1410, 1420), (2800, 2810, 2700), (6000, 6000, 6000)


def points(low: tuple[float, ...], middle: tuple[float, ...], high: tuple[float, ...]) -> list[Point]:
    """Three seeds of a recipe for each accuracy: what they make of the test images."""
    return [
        Point(
            f"{wanted}", wanted, tuple({"test": test, "bytes": size, "held": 0.99} for test, size in zip(row, sizes, strict=True))
        )
        for wanted, row, sizes in zip(WANTED.values(), (low, middle, high), SIZES, strict=True)
    ]


def test_the_bytes_of_the_recipe_for_an_accuracy_are_its_figure_where_its_median_is_there() -> None:
    found = figures_of(points((0.9910, 0.9890, 0.9905), (0.9931, 0.9929, 0.9935), (0.9949, 0.9948, 0.9990)))
    assert {name: figure.value for name, figure in found.items()} == {LOW: 1410, MIDDLE: 2800}
    assert "99.10 % in 1,400 B" in found[LOW].note


def test_where_a_recipe_falls_short_one_for_a_higher_accuracy_counts() -> None:
    found = figures_of(points((0.9890, 0.9891, 0.9905), (0.9925, 0.9929, 0.9935), (0.9941, 0.9949, 0.9950)))
    assert {name: figure.value for name, figure in found.items()} == {LOW: 2800, MIDDLE: 6000}


def test_a_recipe_for_a_lower_accuracy_is_no_figure_for_a_higher_one_however_lucky() -> None:
    assert list(figures_of(points((0.9990, 0.9990, 0.9990), (0.9890,) * 3, (0.9890,) * 3))) == [LOW]


def test_a_recipes_other_seeds_are_the_same_but_for_the_seed() -> None:
    for recipe in RECIPES:
        student = recipe_named(recipe).students[0]
        other = seeded_student(student, 7)
        cuts, book = other.methods
        assert isinstance(cuts, Saliency)
        assert isinstance(book, WeightSharing)
        assert (other.seed, cuts.seed, book.seed) == (7, 7, 7)
        assert seeded_student(other, student.seed) == seeded_student(student, student.seed)
        assert isinstance(recipe_named(recipe).teacher, EnsembleRecipe)


@pytest.mark.slow
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
