"""What may come to a rollout, as `littoral_cloud.rollouts.judge.observe` reads it from what is so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from littoral_cloud.rollouts.assignments import Assignment, Ineligible


@dataclass(frozen=True, slots=True)
class RolloutEvent:
    """What is so now."""


@dataclass(frozen=True, slots=True)
class Waits(RolloutEvent):
    """Nothing to do before one of these happens: in an operator's words, one each."""

    waits_for: tuple[str, ...]
    until: float  # or this time comes
    nodes: frozenset[str] = frozenset()  # node ids whose answer, or return, is waited for


@dataclass(frozen=True, slots=True)
class ApprovalWanted(RolloutEvent):
    """It could reach more of the fleet than this coordinator lets one person decide."""

    share: float  # of the fleet, that it could reach


@dataclass(frozen=True, slots=True)
class TurnWanted(RolloutEvent):
    """It could begin, and waits for others of the model alone."""


@dataclass(frozen=True, slots=True)
class TurnCame(RolloutEvent):
    """No older rollout of the model runs."""

    refused: tuple[Ineligible, ...]


@dataclass(frozen=True, slots=True)
class MeasurersWanted(RolloutEvent):
    """Of those that were asked to measure too few are left: they failed, are offline, or left the fleet. Others are asked."""

    ask: Mapping[str, tuple[str, ...]]  # manifest digests by node id


@dataclass(frozen=True, slots=True)
class Planned(RolloutEvent):
    """Measured, as far as it goes, and at least one node takes a candidate."""

    assignments: tuple[Assignment, ...]  # in the order of their turns
    refused: tuple[Ineligible, ...]


@dataclass(frozen=True, slots=True)
class NothingToDo(RolloutEvent):
    """Every node that could take a candidate serves it already."""

    refused: tuple[Ineligible, ...]


@dataclass(frozen=True, slots=True)
class NobodyCan(RolloutEvent):
    reason: str
    refused: tuple[Ineligible, ...] = ()


@dataclass(frozen=True, slots=True)
class NobodyNow(RolloutEvent):
    """No node can take it now, but some could if they came back."""

    reason: str


@dataclass(frozen=True, slots=True)
class NodesDue(RolloutEvent):
    """The next nodes of the running wave have their turn; at most BATCH_NODES at one time."""

    told: tuple[Assignment, ...]
    left_out: Mapping[str, str]  # why, by node id: their turn came and they cannot have it
    last: bool  # the wave has all its nodes


@dataclass(frozen=True, slots=True)
class NodesAnswered(RolloutEvent):
    """What became of some nodes is known; at most BATCH_NODES at one time. `became`: as they are now."""

    became: tuple[Assignment, ...]


@dataclass(frozen=True, slots=True)
class NodesFailed(RolloutEvent):
    """No more nodes have failed than the gate `probation` allows: these get back what they had, and the rollout goes on."""

    failed: tuple[Assignment, ...]  # as they are now; at most BATCH_NODES


@dataclass(frozen=True, slots=True)
class NodesNotReached(RolloutEvent):
    """No session was handed what is wanted of these nodes, in all the time that a wave has, or they are silent, as a few of many
    may be: they are left out."""

    nodes: tuple[str, ...]
    why: str = "no session was handed it in time"


@dataclass(frozen=True, slots=True)
class NodesYielded(RolloutEvent):
    """Another rollout of the model takes over nodes whose turn waits for their maintenance windows: see yielding.py."""

    to: str
    nodes: tuple[str, ...]  # at most BATCH_NODES at one time
    last: bool  # there are no more of them


@dataclass(frozen=True, slots=True)
class NodesGoBack(RolloutEvent):
    """The next nodes that have, or may have, the candidate; at most BATCH_NODES at one time."""

    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WavePassed(RolloutEvent):
    """Every node of the wave serves its candidate, or was dropped; there is a next wave."""


@dataclass(frozen=True, slots=True)
class LastWavePassed(RolloutEvent):
    """The same, and no node is left."""


@dataclass(frozen=True, slots=True)
class RolloutStopped(RolloutEvent):
    """A node could not take its candidate or was silent for too long, a gate failed, or an operator aborted the rollout."""

    reason: str
    failed: tuple[Assignment, ...] = ()  # as they are now; at most BATCH_NODES


@dataclass(frozen=True, slots=True)
class RolloutExpired(RolloutEvent):
    """The state lasted longer than it may, where that is no reason to roll back."""

    reason: str


@dataclass(frozen=True, slots=True)
class RolloutAborted(RolloutEvent):
    """An operator aborted it before any node was touched."""

    reason: str


@dataclass(frozen=True, slots=True)
class Restored(RolloutEvent):
    """Every node that was touched has what it had before, or will as soon as it is back: see the remarks."""

    remarks: tuple[str, ...]
