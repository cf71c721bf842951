"""How good an artifact is at its task, over all examples and in its worst class; or that this was never measured."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Metric:
    """How good an artifact is at its task, as it was measured when it was made."""

    name: str  # "accuracy", "rmse", or package.module:function
    value: float
    higher_is_better: bool

    @property
    def score(self) -> float:
        """Of two artifacts of one metric, the better one has the higher score."""
        return self.value if self.higher_is_better else -self.value


def is_judged(accuracy: float, metric: Metric | None, classes: Collection[object]) -> bool:
    """Whether anybody measured how good an artifact is: one that was imported without data has an accuracy of 0, which is none.

    Args:
        classes: with an accuracy of their own.
    """
    return bool(accuracy or metric is not None or classes)


def score_of(accuracy: float, metric: Metric | None, classes: Collection[object]) -> float:
    """Of two artifacts for one task, the better one has the higher score; minus infinity: that was never measured."""
    if metric is not None:
        return metric.score
    return accuracy if is_judged(accuracy, metric, classes) else -math.inf


def worst_of(labels: Sequence[str], accuracy: Sequence[float]) -> tuple[str, float]:
    """(label, accuracy) of the class with the lowest accuracy, of equals the first; both in the order of the classes."""
    return min(zip(labels, accuracy, strict=True), key=lambda pair: pair[1])
