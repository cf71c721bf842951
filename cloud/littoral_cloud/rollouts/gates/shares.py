"""Judgements that several gates make, each inside the gate's one error."""

from __future__ import annotations

from littoral_cloud.rollouts.gates.confidence import Values, about_more, at_least, at_most, surely_above, surely_below
from littoral_cloud.rollouts.gates.evidence import Paired, ShareCount
from littoral_cloud.rollouts.gates.verdict import ERROR, GateVerdict, fails, needs_more, passes


def judge_least(counted: ShareCount, least: float, of: str, what: str) -> GateVerdict:
    """Of the share of hits, that must not be below `least`.

    Args:
        of: what is counted. what: what a hit is.
    """
    values = Values(counted.count, counted.hits)
    if not counted.count:
        return needs_more(about_more(Values(0.0, 0.0).mirrored, 1.0 - least, ERROR), of, "there are none yet")
    found = f"{counted.hits:,.0f} of {counted.count:,.0f} {of} {what} ({values.mean:.2%}), wanted are {least:.2%}"
    if surely_below(values, least, ERROR):
        return fails(f"{found}: at most {at_most(values, ERROR):.2%} do")
    if surely_above(values, least, ERROR):
        return passes(f"{found}: at least {at_least(values, ERROR):.2%} do")
    return needs_more(about_more(values, least, ERROR), of, found)


def judge_loss(paired: Paired, most: float, error: float, of: str = "labelled examples") -> GateVerdict:
    """Of the accuracy that is lost against the model before on the same examples, that must not exceed `most`."""
    values = Values(paired.count, paired.worse, paired.better, signed=True)
    if not paired.count:
        return needs_more(about_more(values, most, error), of, "there are none yet")
    found = f"accuracy changes by {0.0 - values.mean:+.2%} on {paired.count:,.0f} {of}, allowed is {0.0 - most:+.2%}"
    if surely_above(values, most, error):
        return fails(f"{found}: at best {0.0 - at_least(values, error):+.2%}")
    if surely_below(values, most, error):
        return passes(f"{found}: at worst {0.0 - at_most(values, error):+.2%}")
    return needs_more(about_more(values, most, error), of, found)
