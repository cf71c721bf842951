"""Whether something grows: the slope of a noisy series, and how sure it is.

P. K. Sen: Estimates of the Regression Coefficient Based on Kendall's Tau, JASA 63 (1968): the median of the slopes between all
pairs of points, and the interval in which the slope lies with a probability of 95 %. A few wild samples do not move it, as they
move the straight line of least squares. The interval supposes independent points, and neighbouring samples of a memory are not:
so the points are medians of a minute.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, groupby
from math import sqrt
from statistics import NormalDist, fmean, median

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Trend:
    """In per cent of the mean, an hour. `low`, `high`: the ends of the interval."""

    slope: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.slope:.2f} ({self.low:.2f} to {self.high:.2f})"


def trend(samples: Sequence[tuple[float, float]], every_s: float = 60.0) -> Trend:
    """Args:
        samples: (seconds, value), in order.
        every_s: the points are medians of that long.

    Raises:
        ValueError: there are fewer than three points.
    """
    points = []
    for _, group in groupby(samples, key=lambda sample: sample[0] // every_s):
        some = list(group)
        points.append((fmean(at for at, _ in some) / 3_600, median(value for _, value in some)))
    if len(points) < 3:
        raise ValueError(f"{len(points)} points: a trend needs three")
    slopes = sorted((b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(points, 2))
    n, pairs = len(points), len(slopes)
    half = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * sqrt(n * (n - 1) * (2 * n + 5) / 18) / 2
    low, high = slopes[max(0, int(pairs / 2 - half))], slopes[min(pairs - 1, int(pairs / 2 + half) + 1)]
    mean = fmean(value for _, value in points) / 100
    return Trend(median(slopes) / mean, low / mean, high / mean)
