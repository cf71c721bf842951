"""Gate "probation": did each node's own judgement of its candidate end well?

Evidence: the end of each node's update. A node judges by its manifest's probe, its own labelled examples and its requests.
Error: no statistics over nodes. With the limit 0, one bad end is enough. With another one, at most that share of the nodes that
have answered may end badly; each of them has gone back by itself. In a small first wave one bad end is enough all the same.
"""

from __future__ import annotations

from littoral_cloud.rollouts.gates.evidence import Evidence
from littoral_cloud.rollouts.gates.verdict import Gate, GateVerdict, fails, needs_more, passes


def judge(evidence: Evidence, limit: float) -> GateVerdict:
    failed = evidence.failed
    answered = evidence.passed + failed
    share = f"{failed:,} of {answered:,} nodes have failed"
    if failed > limit * answered:
        return fails(evidence.failure if failed == 1 else f"{share}, the first: {evidence.failure}")
    if evidence.awaited or not evidence.passed:
        return needs_more(max(1, evidence.awaited), "nodes", share)
    return passes(share)


GATE = Gate("probation", "at most {limit} of the nodes end their probation badly", 0.0, "a fraction of the nodes", judge)
