"""The histogram that both sides count with."""

from __future__ import annotations

import bisect
import math

from hypothesis import given
from hypothesis import strategies as st

from littoral.telemetry import LATENCY_BOUNDS_MS, quantile


@given(st.lists(st.floats(0.011, 9_000), min_size=1, max_size=200), st.floats(0.01, 1.0))
def test_a_quantile_is_off_by_at_most_one_bin(times: list[float], q: float) -> None:
    counts = [0] * (len(LATENCY_BOUNDS_MS) + 1)
    for ms in times:
        counts[bisect.bisect_left(LATENCY_BOUNDS_MS, ms)] += 1
    exact = sorted(times)[max(0, math.ceil(q * len(times) - 1e-9) - 1)]
    assert exact / 1.26 <= quantile(counts, q) <= exact * 1.26


def test_of_nothing_there_is_no_quantile() -> None:
    assert math.isnan(quantile([], 0.5))


def test_what_lies_above_all_bounds_counts_as_the_last() -> None:
    assert quantile([0] * len(LATENCY_BOUNDS_MS) + [5], 0.5) == LATENCY_BOUNDS_MS[-1] == 10_000
