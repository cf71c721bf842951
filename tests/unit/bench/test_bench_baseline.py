"""The benchmark beside logistic regression: its data, its rows and the figures that are made of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.baseline.__main__ import figures_of, table_of
from bench.baseline.rows import COMMANDS, SOURCES, Row
from bench.baseline.sets import colours, ordered, write_folder, write_npz
from bench.report import goals_of
from littoral_cloud.data.sources import load_dataset
from littoral_cloud.recipes.fitted import fitted
from littoral_cloud.training.augmentation import Augment

ROW = Row("wine", "train", 1, 34, 0.97, 0.97, "mlp-onnx", 1.0, 0.9, "", 0.0, 4000, 1 / 3, 20.0, "")


def test_a_seed_is_an_order_of_the_same_examples_in_a_folder_and_in_a_file(tmp_path: Path) -> None:
    (x, y), (again, _), (other, labels) = ordered("colours", 1), ordered("colours", 1), ordered("colours", 2)
    assert np.array_equal(x, again)
    assert not np.array_equal(x, other)
    assert np.bincount(labels).tolist() == [80] * 5
    folder, file = (load_dataset(write(tmp_path / name, x, y)) for write, name in ((write_folder, "f"), (write_npz, "f.npz")))
    assert folder.shape == file.shape == (3, 9, 9)
    for one, two in ((folder.train_x, file.train_x), (folder.test_x, file.test_x)):
        assert sorted(image.tobytes() for image in one) == sorted(image.tobytes() for image in two)


def test_figures_are_points_over_logistic_regression_and_over_chance() -> None:
    rows = [ROW, replace(ROW, seed=2, accuracy=0.94, worst_class=0.2), replace(ROW, seed=3, accuracy=0.97)]
    rows.append(replace(ROW, command="compress", chosen="linear-onnx", chosen_accuracy=0.96, ended="settled"))
    figures = figures_of(rows)
    assert figures["wine_train_over_logistic"].samples == (3.0, -3.0, 0.0)
    assert figures["wine_train_over_logistic"].value == 0.0
    assert figures["wine_train_worst_over_chance"].samples == (56.67, -13.33, 56.67)
    assert figures["wine_compress_chosen_over_logistic"].samples == (-1.0,)
    assert "wine_train_chosen_over_logistic" not in figures
    assert len(table_of(rows).rows) == 4
    goals = goals_of("baseline")
    assert set(goals) == {f"{s}_{c}_{what}" for s in SOURCES for c in COMMANDS for what in ("over_logistic", "worst_over_chance")}
    assert all(goals[name].better == figure.better for name, figure in figures.items() if name in goals)


def test_small_images_are_moved_by_a_part_of_a_pixel_with_the_teachers_answers(tmp_path: Path) -> None:
    recipe = fitted(load_dataset(write_npz(tmp_path / "colours.npz", *colours())))
    for student in recipe.students:
        assert student.schedule.shift == 0
        moves = student.schedule.augment
        assert isinstance(moves, Augment) == (student.name != "linear")
        assert moves is None or moves.shift == 0.5
