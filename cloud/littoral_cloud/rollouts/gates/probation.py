"""Gate "probation": did each node's own judgement of its candidate end well?

Evidence: the end of each node's update. A node judges by its manifest's probe, its own labelled examples and its requests.
Error: that of the nodes' own limits; no statistics over nodes. One bad end is enough.
"""

from __future__ import annotations

from littoral_cloud.rollouts.gates.evidence import Evidence
from littoral_cloud.rollouts.gates.verdict import Gate, GateVerdict, fails, needs_more, passes


def judge(evidence: Evidence, limit: float) -> GateVerdict:
    if evidence.failed:
        return fails(evidence.failed[0])
    if evidence.awaited or not evidence.passed:
        return needs_more(max(1, evidence.awaited), "nodes", f"{evidence.passed:,} have passed")
    return passes(f"{evidence.passed:,} nodes have passed")


GATE = Gate("probation", "every node's probation ends well", 0.0, "", judge)
