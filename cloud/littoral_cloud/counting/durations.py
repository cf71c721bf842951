"""How long things took, in a histogram: 0.2 microseconds a value."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping

BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds: a group of commits takes about 2 ms, and 30 s is the longest patience with Redis."""


class Durations:
    """Attributes:
    counts: of the values up to each bound and above the one before; the last one counts those above all bounds.
    total_s: the sum of all values.
    """

    __slots__ = ("counts", "total_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.total_s = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.total_s += seconds

    @property
    def count(self) -> int:
        return sum(self.counts)


class LabelledDurations:
    """One histogram for each combination of labels. Callers bound how many there are: no label is a text from outside."""

    def __init__(self) -> None:
        self._by: dict[tuple[str, ...], Durations] = {}

    def add(self, seconds: float, *labels: str) -> None:
        if (durations := self._by.get(labels)) is None:
            durations = self._by[labels] = Durations()
        durations.add(seconds)

    @property
    def by_labels(self) -> Mapping[tuple[str, ...], Durations]:
        return self._by
