"""Gate "labelled": does the candidate lose accuracy on the nodes' own labelled examples?

Evidence: in probation a node runs the candidate and the model before on the same held-out examples, and counts those that only
one of them gets right. Nodes without labelled examples give none.
Error: ERROR each for a wrong fail and a wrong pass, over the average of the examples that were seen.
"""

from __future__ import annotations

from littoral_cloud.rollouts.gates.evidence import Evidence
from littoral_cloud.rollouts.gates.shares import judge_loss
from littoral_cloud.rollouts.gates.verdict import ERROR, Gate, GateVerdict


def judge(evidence: Evidence, limit: float) -> GateVerdict:
    return judge_loss(evidence.labelled, limit, ERROR)


GATE = Gate(
    "labelled",
    "accuracy on labelled examples falls by at most {limit}",
    0.02,
    "a fraction",
    judge,
    against=lambda each: each.worse - each.better,
)
