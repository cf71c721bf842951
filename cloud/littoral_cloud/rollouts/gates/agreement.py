"""Gate "agreement": does the candidate, while it serves, answer as the model before does?

Evidence: in probation a node asks the model before as well, for a sample of the live requests, and compares the classes. It needs
no labels. A release that is meant to answer otherwise, after drift, needs a lower limit.
Error: ERROR each for a wrong fail and a wrong pass, over the average of the requests that were compared.
"""

from __future__ import annotations

from littoral_cloud.rollouts.gates.evidence import Evidence
from littoral_cloud.rollouts.gates.shares import judge_least
from littoral_cloud.rollouts.gates.verdict import Gate, GateVerdict


def judge(evidence: Evidence, limit: float) -> GateVerdict:
    return judge_least(evidence.compared, limit, "compared requests", "get the same answer")


GATE = Gate(
    "agreement",
    "at least {limit} of the requests get the answer of the model before",
    0.95,
    "a fraction",
    judge,
    against=lambda each: each.compared - each.agreed,
)
