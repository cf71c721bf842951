"""The latency histogram that nodes count and the cloud adds up: one set of bounds for all, so that any two may be added."""

from __future__ import annotations

import math
from collections.abc import Sequence

LATENCY_BOUNDS_MS: tuple[float, ...] = tuple(round(10 ** (step / 10 - 2), 6) for step in range(61))
"""Upper bounds, 0.01 ms to 10 s, ten a decade: a quantile is off by at most a quarter. One count more holds what lies above."""

_STEP = 10**0.1


def quantile(counts: Sequence[float], q: float) -> float:
    """The q-quantile (0..1) of a histogram over LATENCY_BOUNDS_MS, in milliseconds; NaN where nothing was counted.

    Inside a bin the logarithm of the time is taken as even; what lies above the last bound counts as that bound.
    """
    total = sum(counts)
    if total == 0:
        return math.nan
    wanted = q * total
    seen = 0.0
    for bound, count in zip(LATENCY_BOUNDS_MS, counts, strict=False):
        if count and seen + count >= wanted:
            share = max(0.0, wanted - seen) / count
            return float(bound / _STEP * _STEP**share)
        seen += count
    return LATENCY_BOUNDS_MS[-1]
