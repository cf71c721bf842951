"""Gate "failure-rate": do more live requests fail than with the model before, on the same nodes?

Evidence: requests and failed ones of the candidate since it serves, and of the model before.
Error: half of ERROR for each of the two shares, so ERROR each for a wrong fail and a wrong pass. Without a history,
as of an agent that has just started, nothing is known of what is usual: then the gate passes or needs more, and never fails.
"""

from __future__ import annotations

from littoral_cloud.rollouts.gates.confidence import Values, about_more, at_least, at_most, surely_above, surely_below
from littoral_cloud.rollouts.gates.evidence import Evidence
from littoral_cloud.rollouts.gates.verdict import ERROR, Gate, GateVerdict, fails, needs_more, passes

_HALF = ERROR / 2


def judge(evidence: Evidence, limit: float) -> GateVerdict:
    now = Values(evidence.requests.count, evidence.requests.hits)
    before = Values(evidence.requests_before.count, evidence.requests_before.hits)
    if not now.count:
        return needs_more(about_more(now, limit, _HALF), "requests", "there are none yet")
    failed = f"{now.plus:,.0f} of {now.count:,.0f} requests fail ({now.mean:.2%})"
    if not before.count and now.mean > limit:
        wanted = about_more(before, limit, _HALF)
        return needs_more(wanted, "requests to the model before", f"{failed}, and nothing is known of what is usual")
    found = f"{failed}, before {before.mean:.2%} did, allowed are {limit:.2%} more"
    if now.mean > before.mean + limit:
        usual = at_most(before, _HALF)
        if surely_above(now, usual + limit, _HALF):
            return fails(f"{found}: at least {at_least(now, _HALF) - usual:.2%} more do")
    else:
        usual = at_least(before, _HALF)
        if surely_below(now, usual + limit, _HALF):
            return passes(found)
    return needs_more(about_more(now, min(1.0, before.mean + limit), _HALF), "requests", found)


GATE = Gate(
    "failure-rate",
    "at most {limit} more of the requests fail than before",
    0.01,
    "a fraction",
    judge,
    against=lambda each: each.failed,
)
