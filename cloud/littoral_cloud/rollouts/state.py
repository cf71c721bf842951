"""A rollout: what it is, what may happen to it when, as a table, and for how long a state may last.

    PENDING       waits until no older rollout of the model runs, and until some node is there that can take it
    MEASURING     a few nodes of each hardware class measure the candidates that the class can run and has not measured
    WAVE          some nodes get their candidate; the rollout waits until each has passed its probation
    ROLLING_BACK  every node that was touched goes back to what it had
    SUCCEEDED, ROLLED_BACK, FAILED    ends; FAILED: no node could take it, and none has it

A rollout is one document. A move of it and what it asks of nodes (their desired state) are written in one Change, so there is
nothing between deciding and doing that a crash could lose. docs/state-machines.md holds the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from littoral.budget import Budget
from littoral.errors import FleetError
from littoral_cloud.fleet.records import Probation

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


ENDED = frozenset({RolloutState.SUCCEEDED, RolloutState.ROLLED_BACK, RolloutState.FAILED})


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutPolicy:
    """How a release goes out. Times are seconds; accuracies fractions."""

    canary: str = ""  # node id; "": the rollout chooses one
    nodes: tuple[str, ...] = ()  # only these node ids; empty: every node that it fits
    where: str = ""  # only nodes of this filter (littoral_cloud.fleet.cohorts), also those that join later; "": all
    wave_sizes: tuple[WaveSize, ...] = (1, "5%", "25%")  # of the first waves; then all that are left
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
    approval_s: float = 3 * 86_400.0
    window: str = ""  # when nodes are updated, as littoral.maintenance reads it; "": each in its own window
    defer_s: float = 3_600.0  # for how long a node may put its update off


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What one node gets. Generations are of its DesiredModel; 0: nothing was asked of it yet."""

    node_id: str
    manifest_digest: str
    name: str  # of the candidate
    previous: str  # manifest that it served before; "": none
    generation: int = 0
    restore_generation: int = 0
    dropped: str = ""  # why nothing is expected of it any more
    chosen_for: Budget | None = None  # what the node might spend when this was chosen
    previous_for: Budget | None = None  # and what it might when `previous` was
    interface: tuple[str, ...] = ()  # what changes for clients of what the node served before, a clause each

    @property
    def touched(self) -> bool:
        return self.generation > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    nodes: tuple[str, ...]
    started_at: float | None = None
    ended_at: float | None = None
    promoted_by: str = ""  # who let the next one start before all its nodes had answered


@dataclass(frozen=True, slots=True, kw_only=True)
class Ineligible:
    """A node that does not get the release, by which rule, in an operator's words."""

    node_id: str
    rule: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    release_id: str
    model: str
    kind: str  # of the release
    policy: RolloutPolicy
    state: RolloutState
    created_at: float
    entered_at: float  # the state, or the wave
    deadline: float  # of the state, or the wave
    ended_at: float | None = None
    cohort: tuple[str, ...] = ()  # node ids that are measured
    assignments: tuple[Assignment, ...] = ()  # in the order of the waves
    waves: tuple[Wave, ...] = ()  # those that have started, then those that are planned
    refused: tuple[Ineligible, ...] = ()
    started_by: str = ""  # an operator's name; "": not known
    approved_by: str = ""  # set by an operator's command
    approved_at: float = 0.0
    aborted_by: str = ""  # likewise
    paused_by: str = ""  # likewise; "": it goes on
    paused_at: float = 0.0  # since when, where it is paused
    reason: str = ""  # why it did not succeed: node, code, detail; while it is PENDING: who is missing
    remarks: tuple[str, ...] = ()
    schema: int = 1

    @property
    def running_wave(self) -> Wave | None:
        """The wave that has started and not ended."""
        return next((wave for wave in self.waves if wave.started_at is not None and wave.ended_at is None), None)

    def assignment(self, node_id: str) -> Assignment:
        return next(a for a in self.assignments if a.node_id == node_id)


@dataclass(frozen=True, slots=True)
class RolloutEvent:
    """What is so now, as `littoral_cloud.rollouts.decide.observe` reads it from the ledger."""


@dataclass(frozen=True, slots=True)
class Waits(RolloutEvent):
    """Nothing to do before one of these happens: in an operator's words, one each."""

    waits_for: tuple[str, ...]
    until: float  # or this time comes
    nodes: frozenset[str] = frozenset()  # node ids whose answer, or return, is waited for


@dataclass(frozen=True, slots=True)
class TurnCame(RolloutEvent):
    """No older rollout of the model runs."""

    cohort: tuple[str, ...]
    refused: tuple[Ineligible, ...]


@dataclass(frozen=True, slots=True)
class MeasurersWanted(RolloutEvent):
    """Of those that were asked to measure too few are left: they failed, are offline, or left the fleet. Others are asked."""

    ask: Mapping[str, tuple[str, ...]]  # manifest digests by node id


@dataclass(frozen=True, slots=True)
class Planned(RolloutEvent):
    """Measured, as far as it goes, and at least one node takes a candidate."""

    assignments: tuple[Assignment, ...]
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
class WavePassed(RolloutEvent):
    """Every node of the wave serves its candidate, or was dropped; there is a next wave."""

    dropped: Mapping[str, str]  # why, by node id


@dataclass(frozen=True, slots=True)
class LastWavePassed(RolloutEvent):
    dropped: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RolloutStopped(RolloutEvent):
    """A node could not take its candidate or was silent for too long, or an operator aborted the rollout."""

    reason: str


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


S = RolloutState

MOVES: Mapping[tuple[RolloutState, type[RolloutEvent]], RolloutState] = {
    (S.PENDING, Waits): S.PENDING,
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
    (S.WAVE, WavePassed): S.WAVE,
    (S.WAVE, LastWavePassed): S.SUCCEEDED,
    (S.WAVE, NobodyNow): S.PENDING,
    (S.WAVE, NobodyCan): S.FAILED,
    (S.WAVE, RolloutStopped): S.ROLLING_BACK,
    (S.ROLLING_BACK, Waits): S.ROLLING_BACK,
    (S.ROLLING_BACK, Restored): S.ROLLED_BACK,
}
"""Every pair of state and event that is not here is refused on purpose: `decide` raises IllegalMove."""

EVENTS: tuple[type[RolloutEvent], ...] = (
    *(Waits, TurnCame, MeasurersWanted, Planned, NothingToDo, NobodyNow, NobodyCan, WavePassed, LastWavePassed),
    *(RolloutStopped, RolloutExpired, RolloutAborted, Restored),
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
    S.PENDING: "the rollout FAILED",
    S.MEASURING: "nodes that were not measured are left out",
    S.WAVE: "the rollout is stopped and rolls back; a node that was away has its patience_s from its return on",
    S.ROLLING_BACK: "ROLLED_BACK, with a remark for each node that has not answered; its desired state stands",
}


def limit_s(policy: RolloutPolicy, state: RolloutState) -> float:
    """For how long a state (or one wave) may last; seconds. Infinite for an end."""
    if state not in LIMITS:
        return float("inf")
    limit: float = getattr(policy, LIMITS[state])
    return limit + (policy.probation.duration_s if state is S.WAVE else 0.0)
