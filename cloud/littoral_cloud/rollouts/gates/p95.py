"""Gate "p95": does the slowest twentieth of the inferences take longer than with the model before, on the same nodes?

Evidence: the latency histograms of the candidate, since it runs in the agent's own process, and of the model before. They have
ten bins a decade (littoral/telemetry.py), so a limit acts at the next bound above it: 1.2 can mean up to 1.2 times 1.26.
Error: half of ERROR for each of the two histograms, so ERROR each for a wrong fail and a wrong pass. A p95 lies above a bound
exactly where more than 5 % of the values do; that share is judged.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate

from littoral.telemetry import LATENCY_BOUNDS_MS, quantile
from littoral_cloud.rollouts.gates.confidence import Values, about_more, surely_above, surely_below
from littoral_cloud.rollouts.gates.evidence import Evidence
from littoral_cloud.rollouts.gates.verdict import ERROR, Gate, GateVerdict, fails, needs_more, passes

SLOWEST = 0.05
_BOUNDS = len(LATENCY_BOUNDS_MS)
_SAME = 1e-3
"""A product that comes so near to a bound is meant to be it."""


def judge(evidence: Evidence, limit: float) -> GateVerdict:
    above, above_before = _above(evidence.latency), _above(evidence.latency_before)
    first = about_more(Values(0.0, 0.0), SLOWEST, ERROR / 2)
    if not above_before or not above_before[0]:
        return needs_more(first, "requests to the model before", "nothing is known of its latency")
    if not above or not above[0]:
        return needs_more(first, "requests", "there are none yet")
    count, count_before = above[0], above_before[0]
    p95, before = quantile(evidence.latency, 1 - SLOWEST), quantile(evidence.latency_before, 1 - SLOWEST)
    found = f"p95 {p95:.3g} ms in {count:,.0f} requests, before {before:.3g} ms, allowed is {limit:g} times that"
    # The p95 before is surely at most the bound `slow`, and surely above the bound `fast`; -1: above nothing.
    slow = next((i for i in range(_BOUNDS) if _below(count_before, above_before[i + 1])), _BOUNDS)
    fast = next((i for i in reversed(range(_BOUNDS)) if _over(count_before, above_before[i + 1])), -1)
    too_slow = _BOUNDS if slow == _BOUNDS else bisect_left(LATENCY_BOUNDS_MS, LATENCY_BOUNDS_MS[slow] * limit * (1 - _SAME))
    if too_slow < _BOUNDS and _over(count, above[too_slow + 1]):
        return fails(f"{found}: it is over {LATENCY_BOUNDS_MS[too_slow]:.3g} ms")
    if fast + 1 == _BOUNDS:
        return needs_more(first, "requests", f"{found}; the model before takes longer than what is counted")
    # What the bins cannot tell apart is allowed: the p95 before may lie just below the bound above `fast`.
    allowed = bisect_right(LATENCY_BOUNDS_MS, LATENCY_BOUNDS_MS[fast + 1] * limit * (1 + _SAME)) - 1
    if _below(count, above[allowed + 1]):
        return passes(found)
    share = Values(count, above[allowed + 1])
    if share.mean > SLOWEST and too_slow < _BOUNDS:
        share = Values(count, above[too_slow + 1])
    return needs_more(about_more(share, SLOWEST, ERROR / 2), "requests", found)


def _above(counts: Sequence[float]) -> list[float]:
    """(bins + 1,): how many values lie in a bin or above; the first is all of them."""
    return [*reversed(list(accumulate(reversed(counts)))), 0.0]


def _below(count: float, above: float) -> bool:
    """Whether surely fewer than a twentieth are above."""
    return surely_below(Values(count, above), SLOWEST, ERROR / 2)


def _over(count: float, above: float) -> bool:
    return surely_above(Values(count, above), SLOWEST, ERROR / 2)


GATE = Gate(
    "p95",
    "the p95 latency is at most {limit} times that of the model before",
    1.5,
    "times",
    judge,
    least=1.0,
    most=100.0,
    against=lambda each: sum(each.latency.counts),
)
