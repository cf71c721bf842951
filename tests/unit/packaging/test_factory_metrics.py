"""The accuracy of each class, counted as one counts by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral.errors import BadInput
from littoral.metric import worst_of
from littoral_cloud.packaging.metrics import class_accuracy, learnt_nothing


def answers(*said: int, classes: int) -> np.ndarray:
    return np.eye(classes, dtype=np.float32)[np.array(said, np.int64)]


def test_a_class_that_was_lost_is_seen_though_the_mean_is_high() -> None:
    y = np.array([0] * 18 + [1] * 2)
    fractions = class_accuracy(answers(*[0] * 20, classes=2), y, 2)
    assert fractions == (1.0, 0.0)
    assert worst_of(("even", "odd"), fractions) == ("odd", 0.0)


def test_of_equally_bad_classes_the_first_is_named() -> None:
    assert worst_of(("a", "b", "c"), (0.9, 0.5, 0.5)) == ("b", 0.5)


@given(st.integers(2, 6), st.data())
def test_each_fraction_is_what_counting_gives_and_their_weighted_mean_is_the_accuracy(classes: int, data: st.DataObject) -> None:
    rest = data.draw(st.lists(st.integers(0, classes - 1), max_size=20))
    y = np.array([*range(classes), *rest])
    said = data.draw(st.lists(st.integers(0, classes - 1), min_size=len(y), max_size=len(y)))
    found = class_accuracy(answers(*said, classes=classes), y, classes)
    pairs = list(zip(said, y.tolist(), strict=True))
    for label in range(classes):
        right = [s == t for s, t in pairs if t == label]
        assert found[label] == sum(right) / len(right)
    weights = np.bincount(y, minlength=classes) / len(y)
    assert np.isclose(np.dot(found, weights), np.mean([s == t for s, t in pairs]))


@pytest.mark.parametrize(
    ("logits", "y", "classes", "words"),
    [
        (answers(0, 1, classes=2), [0, 1, 1], 2, r"shape is \(2, 2\), 3 examples of 2 classes need \(3, 2\)"),
        (answers(0, 1, 2, classes=3), [0, 1, 1], 2, r"shape is \(3, 3\), 3 examples of 2 classes"),
        (answers(0, 1, classes=2), [0, 2], 2, "run from 0 to 2, there are 2 classes"),
        (answers(0, 1, classes=2), [-1, 1], 2, "run from -1 to 1"),
        (answers(0, 1, classes=2), [1, 1], 2, "no example of class 0"),
        (answers(classes=2), [], 2, "no example of class 0"),
    ],
)
def test_what_cannot_be_judged_is_refused(logits: np.ndarray, y: list[int], classes: int, words: str) -> None:
    with pytest.raises(BadInput, match=words) as refused:
        class_accuracy(logits, np.array(y, np.int64), classes)
    assert refused.value.hint


@pytest.mark.parametrize(
    ("accuracy", "counts", "learnt"),
    [
        ((0.12, 0.09, 0.1), (100, 100, 100), False),
        ((1.0, 0.0, 0.0), (960, 20, 20), False),  # always the same answer: right on 96 %
        ((0.95, 0.6, 0.7), (960, 20, 20), True),  # right on 94 %, and it tells the rare ones apart
        ((0.4, 0.38, 0.41), (100, 100, 100), True),  # little, but no luck
        ((0.4, 0.38, 0.41), (10, 10, 10), False),  # so few examples that it may be
    ],
)
def test_a_network_that_learnt_nothing_is_told_by_the_mean_of_its_classes(
    accuracy: tuple[float, ...], counts: tuple[int, ...], learnt: bool
) -> None:
    assert (learnt_nothing(accuracy, np.repeat(np.arange(3), counts)) == "") == learnt
