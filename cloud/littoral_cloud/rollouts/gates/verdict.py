"""What a gate says of a rollout's evidence, and what a gate is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from littoral_cloud.fleet.evidence import NodeEvidence
from littoral_cloud.rollouts.gates.confidence import MOST_MORE
from littoral_cloud.rollouts.gates.evidence import Evidence

ERROR = 0.001
"""Of each gate, over a whole rollout and all looks: the chance that it fails a release that is inside the limit, and the chance
that it passes one that is outside."""


class GateAnswer(StrEnum):
    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    NEEDS_MORE = "needs more"


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """`why`: in an operator's words. `more`: about how many more of `of` decide, for NEEDS_MORE."""

    answer: GateAnswer
    why: str
    more: int = 0
    of: str = ""

    def __str__(self) -> str:
        if self.answer is GateAnswer.NEEDS_MORE:
            many = f"about {self.more:,}" if self.more < MOST_MORE else "very many"
            return f"{self.answer}: {many} more {self.of}: {self.why}"
        return f"{self.answer}: {self.why}"


@dataclass(frozen=True, slots=True)
class Gate:
    """One rule that a wave must pass.

    Attributes:
        name: as `rollout start --gate NAME=LIMIT` takes it.
        asks: what it asks, one sentence; {limit} stands for the limit.
        unit: of the limit, in words; "": it has none.
        least, most: what the limit may be.
        judge: evidence and limit to a verdict; pure.
        against: how much of one node's evidence speaks against its candidate.
    """

    name: str
    asks: str
    limit: float
    unit: str
    judge: Callable[[Evidence, float], GateVerdict]
    least: float = 0.0
    most: float = 1.0
    against: Callable[[NodeEvidence], float] = lambda _: 0.0


def passes(why: str) -> GateVerdict:
    return GateVerdict(GateAnswer.PASS, why)


def fails(why: str) -> GateVerdict:
    return GateVerdict(GateAnswer.FAIL, why)


def needs_more(more: int, of: str, why: str) -> GateVerdict:
    return GateVerdict(GateAnswer.NEEDS_MORE, why, more, of)
