"""How good an artifact is at its task, over all examples and in its worst class."""

from __future__ import annotations

from collections.abc import Sequence
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


def worst_of(labels: Sequence[str], accuracy: Sequence[float]) -> tuple[str, float]:
    """(label, accuracy) of the class with the lowest accuracy, of equals the first; both in the order of the classes."""
    return min(zip(labels, accuracy, strict=True), key=lambda pair: pair[1])
