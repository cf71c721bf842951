"""A rollout: what it is, what may happen to it when, as a table, and for how long a state may last.

    PENDING       waits until no older rollout of the model runs, but for nodes with closed windows (yielding.py), and
                  until some node is there that can take it
    MEASURING     a few nodes of each hardware class measure the candidates that the class can run and has not measured
    WAVE          some nodes get their candidate; the rollout waits until each has passed its probation
    ROLLING_BACK  every node that was touched goes back to what it had
    SUCCEEDED, ROLLED_BACK, FAILED    ends; FAILED: no node could take it, and none has it

A rollout is one small document; what each node gets is one of its own (littoral_cloud/rollouts/assignments.py). A batch of nodes
is asked in one Change: their desired states, their assignments and the rollout's numbers. So there is nothing between deciding
and doing that a crash could lose. docs/state-machines.md holds the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from littoral.errors import FleetError
from littoral_cloud.fleet.records import Probation
from littoral_cloud.rollouts.assignments import Ineligible
from littoral_cloud.rollouts.events import (
    ApprovalWanted,
    LastWavePassed,
    MeasurersWanted,
    NobodyCan,
    NobodyNow,
    NodesAnswered,
    NodesDue,
    NodesFailed,
    NodesGoBack,
    NodesNotReached,
    NodesYielded,
    NothingToDo,
    Planned,
    Restored,
    RolloutAborted,
    RolloutEvent,
    RolloutExpired,
    RolloutStopped,
    TurnCame,
    TurnWanted,
    Waits,
    WavePassed,
)
from littoral_cloud.rollouts.older import numbers_of

KIND = "rollout"
PROBATION_S = 600.0
"""Of each node, where a rollout names no other time."""
WaveSize = int | str
"""A number of nodes, or a percent of the planned nodes such as "5%": littoral_cloud.rollouts.waves has the rules."""


class RolloutState(StrEnum):
    PENDING = "PENDING"
    MEASURING = "MEASURING"
    WAVE = "WAVE"
    ROLLING_BACK = "ROLLING_BACK"
    SUCCEEDED = "SUCCEEDED"
    ROLLED_BACK = "ROLLED_BACK"
    FAILED = "FAILED"


class Unsure(StrEnum):
    """Of a gate that has to pass, and needs more evidence than came."""

    STOP = "stop"
    CONTINUE = "continue"


ENDED = frozenset({RolloutState.SUCCEEDED, RolloutState.ROLLED_BACK, RolloutState.FAILED})


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutPolicy:
    """How a release goes out. Times are seconds; accuracies fractions."""

    canary: str = ""  # node id; "": the rollout chooses one
    nodes: tuple[str, ...] = ()  # only these node ids; empty: every node that it fits
    where: str = ""  # only nodes of this filter (littoral_cloud.fleet.cohorts), also those that join later; "": all
    wave_sizes: tuple[WaveSize, ...] = (1, "1%", "5%", "25%")  # of the first waves; then all that are left
    most_nodes: int = 1_000  # of one wave
    probation: Probation = field(default_factory=lambda: Probation(duration_s=PROBATION_S))
    max_accuracy_loss: float = 0.02  # by the manifests: so much worse than what it serves may a node's candidate be; 1: any
    allow_interface_change: bool = False  # a node may get a candidate that clients of what it serves do not understand
    pending_s: float = 3_600.0
    measure_s: float = 180.0
    wave_s: float = 300.0  # beyond the probation
    restore_s: float = 120.0
    not_before: float = 0.0  # seconds since 1970-01-01 UTC
    approval: bool = False  # it waits until somebody other than who started it approves it
    way_back: bool = False  # to a release that has passed before: no setting asks for approval
    approval_s: float = 3 * 86_400.0
    window: str = ""  # when nodes are updated, as littoral.maintenance reads it; "": each in its own window
    defer_s: float = 3_600.0  # for how long a node may put its update off
    gates: Mapping[str, float] = field(default_factory=dict)  # those that were named, and their limits
    max_silent: float = 0.02  # the part of the nodes that got it which may fall silent in it
    unsure: Unsure = Unsure.STOP  # what follows where one of them needs more when the wave's time is over


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """Numbers, and a few of the nodes. Its nodes are the assignments with its number."""

    number: int  # from 1
    size: int  # nodes that it is to have
    told: int = 0  # of them, so far
    first: tuple[str, ...] = ()  # node ids of those that were asked first; at most FIRST_NODES
    started_at: float
    told_at: float | None = None  # when the last of its nodes was asked
    ended_at: float | None = None
    promoted_by: str = ""  # who let the next one start before all its nodes had answered


FIRST_NODES = 5
"""Nodes that a wave, or a rule that refuses, names one by one."""
KEPT_WAVES = 50
"""The last waves, that a rollout tells of one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedByRule:
    """How many nodes one rule keeps from the release, and the first of them."""

    rule: str
    nodes: int
    first: tuple[Ineligible, ...]  # at most FIRST_NODES


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """As large with 100,000 nodes as with ten: what each node gets is an Assignment."""

    release_id: str
    model: str
    kind: str  # of the release
    policy: RolloutPolicy
    state: RolloutState
    created_at: float
    entered_at: float  # the state, or the wave
    deadline: float  # of the state, or the wave
    ended_at: float | None = None
    planned: int = 0  # nodes that have an assignment
    waves: tuple[Wave, ...] = ()  # those that have started; of many the last KEPT_WAVES
    waves_to_come: int = 0
    given: Mapping[str, int] = field(default_factory=dict)  # by manifest digest: nodes that were asked to serve it
    refused: tuple[RefusedByRule, ...] = ()
    started_by: str = ""  # an operator's name; "": not known
    approved_by: str = ""  # set by an operator's command
    approved_at: float = 0.0
    aborted_by: str = ""  # likewise
    paused_by: str = ""  # likewise; "": it goes on
    paused_at: float = 0.0  # since when, where it is paused
    paused_s: float = 0.0  # for how long it was paused in this wave
    asks_turn: bool = False  # while it is PENDING: it could begin, and waits for others of the model alone
    began_at: float = 0.0  # when its turn came; 0: it has not, or a coordinator before wrote this
    yielded_to: tuple[str, ...] = ()  # rollouts that began while nodes of this one waited for their maintenance windows
    reason: str = ""  # why it did not succeed: node, code, detail; while it is PENDING: who is missing
    remarks: tuple[str, ...] = ()
    schema: int = 2

    @classmethod
    def from_older(cls, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Schema 1 had a list of all its nodes: what stays of it are numbers."""
        return numbers_of(body) if body.get("schema") == 1 else body

    @property
    def running_wave(self) -> Wave | None:
        """The wave that has started and not ended."""
        return self.waves[-1] if self.waves and self.waves[-1].ended_at is None else None

    @property
    def began(self) -> float:
        """When its turn came: of two rollouts of a model, the one that began later is the newer."""
        return self.began_at or max(self.created_at, self.policy.not_before, self.approved_at)

    @property
    def proved(self) -> bool:
        """Whether its waves say something of nodes that it left out: not where another rollout took over most of them."""
        return not self.yielded_to or 2 * sum(self.given.values()) >= self.planned

    @property
    def waves_started(self) -> int:
        return self.waves[-1].number if self.waves else 0


S = RolloutState

MOVES: Mapping[tuple[RolloutState, type[RolloutEvent]], RolloutState] = {
    (S.PENDING, Waits): S.PENDING,
    (S.PENDING, ApprovalWanted): S.PENDING,
    (S.PENDING, TurnWanted): S.PENDING,
    (S.PENDING, TurnCame): S.MEASURING,
    (S.PENDING, NobodyNow): S.PENDING,
    (S.PENDING, NobodyCan): S.FAILED,
    (S.PENDING, RolloutExpired): S.FAILED,
    (S.PENDING, RolloutAborted): S.ROLLED_BACK,
    (S.MEASURING, Waits): S.MEASURING,
    (S.MEASURING, MeasurersWanted): S.MEASURING,
    (S.MEASURING, Planned): S.WAVE,
    (S.MEASURING, NothingToDo): S.SUCCEEDED,
    (S.MEASURING, NobodyNow): S.PENDING,
    (S.MEASURING, NobodyCan): S.FAILED,
    (S.MEASURING, RolloutAborted): S.ROLLED_BACK,
    (S.WAVE, Waits): S.WAVE,
    (S.WAVE, NodesDue): S.WAVE,
    (S.WAVE, NodesAnswered): S.WAVE,
    (S.WAVE, NodesFailed): S.WAVE,
    (S.WAVE, NodesNotReached): S.WAVE,
    (S.WAVE, NodesYielded): S.WAVE,
    (S.WAVE, WavePassed): S.WAVE,
    (S.WAVE, LastWavePassed): S.SUCCEEDED,
    (S.WAVE, NobodyNow): S.PENDING,
    (S.WAVE, NobodyCan): S.FAILED,
    (S.WAVE, RolloutStopped): S.ROLLING_BACK,
    (S.ROLLING_BACK, Waits): S.ROLLING_BACK,
    (S.ROLLING_BACK, NodesGoBack): S.ROLLING_BACK,
    (S.ROLLING_BACK, NodesAnswered): S.ROLLING_BACK,
    (S.ROLLING_BACK, Restored): S.ROLLED_BACK,
}
"""Every pair of state and event that is not here is refused on purpose: `decide` raises IllegalMove."""

EVENTS: tuple[type[RolloutEvent], ...] = (
    *(Waits, ApprovalWanted, TurnWanted, TurnCame, MeasurersWanted, Planned, NothingToDo, NobodyNow, NobodyCan),
    *(NodesDue, NodesAnswered, NodesFailed, NodesNotReached, NodesYielded, WavePassed, LastWavePassed),
    *(RolloutStopped, RolloutExpired, RolloutAborted, NodesGoBack, Restored),
)


class IllegalRolloutMove(FleetError):
    """An event came in a state in which it cannot happen: a bug of the coordinator."""

    code = "illegal-move"


LIMITS: Mapping[RolloutState, str] = {
    S.PENDING: "pending_s",
    S.MEASURING: "measure_s",
    S.WAVE: "wave_s",
    S.ROLLING_BACK: "restore_s",
}
"""Name of the policy's limit of each state."""

ON_EXPIRY: Mapping[RolloutState, str] = {
    S.PENDING: "the rollout fails",
    S.MEASURING: "nodes of a class in which nothing was measured are left out",
    S.WAVE: "the rollout is stopped and rolls back. Counted for each node from when a session was handed its desired state. "
    "One that was away gets, once it is back, as much time again as it may be away; one that no session was handed in that time "
    "is left out",
    S.ROLLING_BACK: "ROLLED_BACK, with a remark for each node that has not answered; its desired state stands",
}


def limit_s(policy: RolloutPolicy, state: RolloutState) -> float:
    """For how long a state (or one wave) may last; seconds. Infinite for an end."""
    if state not in LIMITS:
        return float("inf")
    limit: float = getattr(policy, LIMITS[state])
    return limit + (policy.probation.shadow_s + policy.probation.duration_s if state is S.WAVE else 0.0)
