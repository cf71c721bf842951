"""Gate "shadow": does the candidate answer as the served model does, before any client gets an answer of it?

Evidence: the node runs the candidate in its isolated process beside the served model, inside the node's budget, on a sample of
the live requests, and compares the classes. What the candidate cannot answer counts as another answer.
Error: ERROR each for a wrong fail and a wrong pass, over the average of the requests that were compared.
"""

from __future__ import annotations

from littoral_cloud.rollouts.gates.evidence import Evidence
from littoral_cloud.rollouts.gates.shares import judge_least
from littoral_cloud.rollouts.gates.verdict import Gate, GateVerdict


def judge(evidence: Evidence, limit: float) -> GateVerdict:
    return judge_least(evidence.shadowed, limit, "shadowed requests", "get the same answer")


GATE = Gate("shadow", "at least {limit} of the requests get the served model's answer from the candidate beside it", 0.95,
            "a fraction", judge, against=lambda each: each.shadowed - each.shadow_agreed)  # fmt: skip
