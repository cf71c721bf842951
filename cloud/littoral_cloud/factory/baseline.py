"""What students must be better than: the most frequent class, and logistic regression on the raw values, in a second of work.

base = baseline_of(dataset)
remarked = with_baseline(made.packaged, base)     # a student below it, or with a class below chance, says so
made = released(made, yes=False)                  # and is left out of the release
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from littoral.errors import NoFit
from littoral_cloud.data.dataset import Dataset, Inputs
from littoral_cloud.data.labels import Labels
from littoral_cloud.packaging.metrics import class_accuracy
from littoral_cloud.packaging.package import Packaged
from littoral_cloud.training.logistic import logistic
from littoral_cloud.training.preparation import input_of
from littoral_cloud.training.train import accuracy_of

BELOW, LOST = "below the baseline", "a class below chance"
_WORK = 4e7  # examples x values x classes of one step: some hundred steps are about a second
_MOST_FEATURES = 1024
_STEPS = 100
_AT_ONCE = 2048


@dataclass(frozen=True, slots=True)
class Baseline:
    """On the test split; fractions."""

    majority: float  # of a guess that is always the class that is most frequent in training
    logistic: float
    worst_class: float  # of logistic regression
    worst_label: str
    examples: int  # training examples that it learnt from: as many as a second allows
    classes: int

    @property
    def best(self) -> float:
        return max(self.majority, self.logistic)

    def faults(self, accuracy: float, worst: tuple[str, float] | None) -> tuple[str, ...]:
        """Why a student of this accuracy is not worth a release; nothing where it is.

        Args:
            worst: its worst class and that one's accuracy; None: not known.
        """
        found = []
        if accuracy < self.best:
            plain = "logistic regression" if self.logistic >= self.majority else "always the most frequent class"
            found.append(f"{BELOW}: right on {accuracy:.1%}, {plain} on {self.best:.1%}")
        if worst is not None and worst[1] < 1 / self.classes:
            found.append(f"{LOST}: right on {worst[1]:.1%} of {worst[0]!r}, and guessing is on {1 / self.classes:.1%}")
        return tuple(found)

    def rows(self) -> list[dict[str, Any]]:
        """For a table of students."""
        worst = f"{self.worst_class:.6g} ({self.worst_label})"
        return [
            {"name": "baseline: most frequent class", "accuracy": self.majority, "worst_class": "0" if self.classes > 1 else ""},
            {"name": "baseline: logistic regression", "accuracy": self.logistic, "worst_class": worst},
        ]


def baseline_of(dataset: Dataset) -> Baseline:
    """The same data set gives the same baseline, on one machine."""
    y, classes = dataset.train_y, dataset.classes
    majority = int(np.bincount(y, minlength=classes).argmax())
    given = input_of(dataset)
    side = _shrunk(dataset.shape)
    features = int(np.prod(side))
    places = _some(y, classes, max(classes, int(_WORK / (features * classes))))

    def values(x: Inputs) -> npt.NDArray[np.float32]:
        parts = [_small(given.prepare(x[i : i + _AT_ONCE]), side).reshape(-1, features) for i in range(0, len(x), _AT_ONCE)]
        return np.concatenate(parts)

    weights, biases = logistic(values(dataset.train_x[places]), y[places], classes, steps=_STEPS)
    logits = (values(dataset.test_x) @ weights.T + biases).astype(np.float32)
    by_class = class_accuracy(logits, dataset.test_y, classes)
    worst = int(np.argmin(by_class))
    return Baseline(
        float((dataset.test_y == majority).mean()),
        accuracy_of(logits, dataset.test_y),
        by_class[worst],
        dataset.labels[worst],
        len(places),
        classes,
    )


def with_baseline(packaged: Sequence[Packaged], base: Baseline) -> tuple[Packaged, ...]:
    """The same artifacts; a manifest of one that is not worth a release remarks why."""
    return tuple(
        replace(p, manifest=replace(p.manifest, remarks=(*p.manifest.remarks, *faults))) if (faults := _faults(p, base)) else p
        for p in packaged
    )


def worth_releasing(packaged: Sequence[Packaged], base: Baseline, *, yes: bool) -> tuple[Packaged, ...]:
    """Those that are no worse than the baseline and have no class below chance; with `yes` all.

    Raises NoFit where none is left.
    """
    if yes:
        return tuple(packaged)
    worth = tuple(p for p in packaged if not _faults(p, base))
    if not worth:
        first = max(packaged, key=lambda p: p.manifest.accuracy)
        raise NoFit(
            f"no student is worth a release: the best, {first.manifest.name}, has {'; '.join(_faults(first, base))}",
            hint="look at the data and the recipe; --yes releases them all the same",
        )
    return worth


def teacher_faults(accuracy: float, packaged: Sequence[Packaged], base: Baseline) -> tuple[str, ...]:
    """What the person who trained it should know of the teacher, a sentence each."""
    found = []
    best = max(packaged, key=lambda p: p.manifest.accuracy, default=None)
    if best is not None and accuracy < best.manifest.accuracy:
        found.append(
            f"worse than its student {best.manifest.name}: right on {accuracy:.1%}, the student on {best.manifest.accuracy:.1%}; "
            "students have little to learn from it"
        )
    if accuracy < base.best:
        found.append(f"{BELOW}: right on {accuracy:.1%}, the baseline on {base.best:.1%}")
    return tuple(found)


def _faults(packaged: Packaged, base: Baseline) -> tuple[str, ...]:
    return base.faults(packaged.manifest.accuracy, packaged.manifest.worst_class)


def _some(y: Labels, classes: int, most: int) -> npt.NDArray[np.int64]:
    """Places of at most about the given number of examples: the same share of every class, evenly, and one of each at least."""
    if len(y) <= most:
        return np.arange(len(y))
    found = []
    for label in range(classes):
        there = np.flatnonzero(y == label)
        count = max(1, round(len(there) * most / len(y)))
        found.append(there[np.linspace(0, len(there) - 1, count).astype(np.int64)])
    return np.sort(np.concatenate(found))


def _shrunk(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of an input with at most the given number of values: images halved, series shortened; a table as it is."""
    side = list(shape)
    while np.prod(side) > _MOST_FEATURES and max(side[1:], default=1) > 1:
        side = [side[0], *(max(1, n // 2) for n in side[1:])]
    return tuple(side)


def _small(x: npt.NDArray[np.float32], side: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """The means of blocks; what is left over at the ends is left out."""
    for axis, size in enumerate(side, 1):
        block = x.shape[axis] // size
        if block > 1:
            whole = np.moveaxis(x, axis, -1)[..., : block * size]
            x = np.moveaxis(whole.reshape(*whole.shape[:-1], size, block).mean(axis=-1), -1, axis)
    return x
