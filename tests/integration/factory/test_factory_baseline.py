"""What students must be better than: solved as it should be, and held against them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from littoral.errors import BadInput, NoFit
from littoral_cloud.data.dataset import Dataset, assemble
from littoral_cloud.factory.baseline import Baseline, baseline_of, teacher_faults, with_baseline, worth_releasing
from littoral_cloud.factory.production import make_students
from littoral_cloud.recipes.fitted import LINEAR
from littoral_cloud.recipes.recipe import Production
from littoral_cloud.training.logistic import logistic
from tests.kit.images import bars
from tests.kit.measured import series, table

BASE = Baseline(0.4, 0.9, 0.7, "b", 100, 4)


def rows(classes: int, count: int = 120) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(classes)
    y = np.arange(count) % classes
    return chance.normal(size=(count, 5)) * [1, 100, 0.01, 1, 0] + y[:, None] * [1.0, 50, 0, -1, 0], y


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_no_other_weights_are_better(classes: int) -> None:
    x, y = rows(classes)
    weights, biases = logistic(x, y, classes)
    penalty = 2.0 if classes == 2 else 1.0  # of two classes the binomial's: half of the difference of two rows

    def loss(w: np.ndarray, b: np.ndarray) -> float:
        logits = x @ w.T + b
        most = logits.max(axis=1)
        right = logits[np.arange(len(y)), y]
        unit = w * x.std(axis=0)
        return float((most + np.log(np.exp(logits - most[:, None]).sum(axis=1)) - right).sum() + penalty / 2 * (unit**2).sum())

    best = loss(weights, biases)
    for seed in range(20):
        way = np.random.default_rng(seed).normal(size=(classes, 6)) * 0.05
        assert best <= loss(weights + way[:, :5] / np.maximum(x.std(axis=0), 1e-9) * (x.std(axis=0) > 0), biases + way[:, 5])
    assert not weights[:, 4].any()  # a feature of one value says nothing


def test_two_classes_are_solved_as_one_difference() -> None:
    x, y = rows(2)
    weights, biases = logistic(x, y, 2)
    assert np.allclose(weights[0], -weights[1], atol=1e-6)
    assert biases.sum() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("data", [table(60), series(60), bars(60)], ids=["table", "series", "images"])
def test_the_linear_student_is_the_baseline(data: Dataset) -> None:
    made = make_students(data, Production("m", None, (replace(LINEAR, variants=("onnx",)),)))
    base = baseline_of(data)
    assert made.packaged[0].manifest.accuracy == base.logistic
    assert made.packaged[0].manifest.worst_class == (base.worst_label, base.worst_class)
    assert base.majority == pytest.approx((data.test_y == np.bincount(data.train_y).argmax()).mean())


def test_what_is_solved_for_is_linear_and_learns_from_labels() -> None:
    for wrong in (
        replace(LINEAR, architecture={"name": "perceptron", "widths": [4]}),
        replace(LINEAR, alpha=0.5, beta=0.5),
    ):
        with pytest.raises(BadInput, match="lbfgs solves for the weights of the architecture linear"):
            make_students(table(60), Production("m", None, (wrong,)))


@pytest.mark.parametrize("shape", [(3, 96, 96), (2, 1500), (4000,)], ids=["images", "series", "table"])
def test_large_inputs_are_shrunk_to_a_second_of_work(shape: tuple[int, ...]) -> None:
    y = np.repeat([0, 1], [194, 6])
    far = y.reshape(-1, *(1 for _ in shape))
    chance = np.random.default_rng(1)
    if len(shape) == 3:
        x: np.ndarray = (chance.integers(0, 120, (len(y), *shape)) + 120 * far).astype(np.uint8)
    else:
        x = chance.normal(size=(len(y), *shape)) + 3.0 * far
    base = baseline_of(assemble("large", x[::2], y[::2], x[1::2], y[1::2]))
    assert (base.logistic, base.worst_class) == (1.0, 1.0)  # also the class of three examples was learnt from
    assert base.examples <= 100


def test_a_student_says_what_it_is_worse_than() -> None:
    assert BASE.faults(0.9, ("b", 0.25)) == ()
    assert BASE.faults(0.89, ("b", 0.5)) == ("below the baseline: right on 89.0%, logistic regression on 90.0%",)
    assert BASE.faults(0.95, ("b", 0.2)) == ("a class below chance: right on 20.0% of 'b', and guessing is on 25.0%",)
    uneven = replace(BASE, majority=0.95)
    assert uneven.faults(0.93, None) == ("below the baseline: right on 93.0%, always the most frequent class on 95.0%",)


def test_what_is_worse_is_not_released_unless_it_is_wanted() -> None:
    made = make_students(table(60), Production("m", None, (LINEAR,)))
    fine = with_baseline(made.packaged, baseline_of(table(60)))
    assert fine == made.packaged
    assert worth_releasing(fine, baseline_of(table(60)), yes=False) == fine
    better = replace(baseline_of(table(60)), logistic=1.1)
    poor = with_baseline(made.packaged, better)
    assert all(p.manifest.remarks[-1].startswith("below the baseline") for p in poor)
    with pytest.raises(NoFit, match="no student is worth a release: the best, linear-onnx, has below the baseline") as refused:
        worth_releasing(poor, better, yes=False)
    assert "--yes" in refused.value.hint
    assert worth_releasing(poor, better, yes=True) == poor
    accuracy = made.packaged[0].manifest.accuracy
    assert teacher_faults(accuracy, made.packaged, replace(better, logistic=0.0, majority=0.0)) == ()
    worse, below = teacher_faults(accuracy - 0.1, made.packaged, better)
    assert "worse than its student linear-onnx" in worse
    assert below.startswith("below the baseline")
