"""The update of one model on one node: what may happen when, as a table, and a step that only decides.

    PENDING      the manifest is fetched and its signature checked; room on the disk is found        step: reserve
    DOWNLOADING  the files are fetched                                                                step: download
    VERIFYING    digests are checked, the model is loaded in a process of its own and tried on the
                 manifest's probe                                                                 steps: verify, load
    PROBATION    the model answers requests, on trial, from a process of its own; the previous one
                 stands by; then it is loaded in the agent itself                                steps: swap, watch, adopt
    SUCCEEDED, FAILED, ROLLED_BACK, ABORTED    ends; only what takes the agent down or hangs afterwards turns a SUCCEEDED into a
                                               ROLLED_BACK

On the disk the previous model stays the active one until probation is passed. So a crash at any point, probation
included, restarts with a model that was proved; an update that crashes the agent CRASH_LIMIT times is given up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from littoral.errors import FleetError

CRASH_LIMIT = 3


class State(StrEnum):
    """The values of littoral.fleet.v1.UpdateState, without its prefix."""

    PENDING = "PENDING"
    DOWNLOADING = "DOWNLOADING"
    VERIFYING = "VERIFYING"
    PROBATION = "PROBATION"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    ROLLED_BACK = "ROLLED_BACK"
    ABORTED = "ABORTED"


ENDS = frozenset({State.SUCCEEDED, State.FAILED, State.ROLLED_BACK, State.ABORTED})

LIMIT_S: Mapping[State, float] = {
    State.PENDING: 3_600.0,
    State.DOWNLOADING: 24 * 3_600.0,  # a slow line is not an error
    State.VERIFYING: 300.0,
    State.PROBATION: 120.0,  # beyond the probation's own duration
}
"""How long a state may last before the update is given up; seconds. It counts anew after a restart of the agent."""


@dataclass(frozen=True, slots=True)
class Policy:
    """When a new model is good enough to stay; see ProbationPolicy in session.proto."""

    duration_s: float = 3.0
    max_accuracy_drop: float = 0.05
    max_failure_rate: float = 0.01


@dataclass(frozen=True, slots=True)
class Findings:
    """What probation showed. Accuracies are fractions on the node's held-out examples; None: none held, or no model before."""

    accuracy: float | None = None
    previous_accuracy: float | None = None
    examples: int = 0
    requests: int = 0
    failed_requests: int = 0
    turned_away: int = 0  # requests that it refused and that the model before would have answered


@dataclass(frozen=True, slots=True)
class Update:
    """One wish of the cloud for one model. `generation` is DesiredModel.generation; `deadline` is on this boot's clock."""

    model: str
    manifest_digest: str
    generation: int
    policy: Policy = field(default_factory=Policy)
    replaces: str = ""  # manifest digest that was active when it began; empty: none
    proved: bool = False  # it was kept here before: it goes in without a new probation
    state: State = State.PENDING
    crashes: int = 0  # of the agent while this model was being loaded or on trial
    deadline: float = math.inf
    reason: str = ""
    detail: str = ""
    findings: Findings | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """`generation` says which update it is of: one of an update that was superseded changes nothing."""

    generation: int


@dataclass(frozen=True, slots=True)
class Begun(Event):
    """The wish was read and written to the journal."""


@dataclass(frozen=True, slots=True)
class Reserved(Event): ...


@dataclass(frozen=True, slots=True)
class Fetched(Event): ...


@dataclass(frozen=True, slots=True)
class Verified(Event): ...


@dataclass(frozen=True, slots=True)
class Loaded(Event):
    """Loaded, and right on the probe."""


@dataclass(frozen=True, slots=True)
class Swapped(Event):
    """It answers requests."""


@dataclass(frozen=True, slots=True)
class Passed(Event):
    """It did well on trial."""

    findings: Findings | None = None


@dataclass(frozen=True, slots=True)
class Kept(Event):
    """It answers requests from the agent's own process, and is the active model on the disk."""

    findings: Findings | None = None


@dataclass(frozen=True, slots=True)
class Regressed(Event):
    reason: str
    detail: str
    findings: Findings | None = None


@dataclass(frozen=True, slots=True)
class Broke(Event):
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class GivenUp(Event):
    """It was the active model, and took the agent down or hung too often since: the one before is active again."""

    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Deferred(Event):
    """The step cannot be done now, but later perhaps: no way to the cloud."""

    detail: str


@dataclass(frozen=True, slots=True)
class Expired(Event):
    """The state lasted longer than LIMIT_S."""


@dataclass(frozen=True, slots=True)
class Superseded(Event):
    """The cloud wants something else of this model."""


@dataclass(frozen=True, slots=True)
class Crashed(Event):
    """The agent was gone without a word, and is back."""


@dataclass(frozen=True, slots=True)
class Drained(Event):
    """The agent ends, or was ended, in good order."""


@dataclass(frozen=True, slots=True)
class Resumed(Event):
    """The agent is back after it ended in good order."""


@dataclass(frozen=True, slots=True)
class Effect: ...


@dataclass(frozen=True, slots=True)
class Run(Effect):
    """Do this step next."""

    step: str


@dataclass(frozen=True, slots=True)
class RunLater(Effect):
    """Do this step again, after a pause."""

    step: str


@dataclass(frozen=True, slots=True)
class Restore(Effect):
    """The model that stood by answers requests again, at once."""


@dataclass(frozen=True, slots=True)
class Release(Effect):
    """Whatever was loaded for this update and does not serve is closed."""


S = State
ACTIVE = (S.PENDING, S.DOWNLOADING, S.VERIFYING, S.PROBATION)

MOVES: Mapping[tuple[State, type[Event]], State] = {
    (S.PENDING, Begun): S.PENDING,
    (S.PENDING, Reserved): S.DOWNLOADING,
    (S.DOWNLOADING, Fetched): S.VERIFYING,
    (S.VERIFYING, Verified): S.VERIFYING,
    (S.VERIFYING, Loaded): S.PROBATION,
    (S.PROBATION, Swapped): S.PROBATION,
    (S.PROBATION, Passed): S.PROBATION,
    (S.PROBATION, Kept): S.SUCCEEDED,
    (S.PROBATION, Regressed): S.ROLLED_BACK,
    # It was good, until it was not.
    (S.SUCCEEDED, GivenUp): S.ROLLED_BACK,
    # The wish is what is active already.
    (S.PENDING, Kept): S.SUCCEEDED,
    # No way now.
    (S.PENDING, Deferred): S.PENDING,
    (S.DOWNLOADING, Deferred): S.DOWNLOADING,
    (S.VERIFYING, Deferred): S.VERIFYING,  # a damaged file was to be fetched again
    # Something is wrong for good.
    (S.PENDING, Broke): S.FAILED,
    (S.DOWNLOADING, Broke): S.FAILED,
    (S.VERIFYING, Broke): S.FAILED,
    (S.PROBATION, Broke): S.ROLLED_BACK,
    (S.PENDING, Expired): S.FAILED,
    (S.DOWNLOADING, Expired): S.FAILED,
    (S.VERIFYING, Expired): S.FAILED,
    (S.PROBATION, Expired): S.ROLLED_BACK,
    # The cloud changed its mind.
    (S.PENDING, Superseded): S.ABORTED,
    (S.DOWNLOADING, Superseded): S.ABORTED,
    (S.VERIFYING, Superseded): S.ABORTED,
    (S.PROBATION, Superseded): S.ABORTED,
    # The agent was away: what serves is the active model, so probation begins again. `step` counts the crashes.
    (S.PENDING, Crashed): S.PENDING,
    (S.DOWNLOADING, Crashed): S.DOWNLOADING,
    (S.VERIFYING, Crashed): S.VERIFYING,
    (S.PROBATION, Crashed): S.VERIFYING,
    (S.PENDING, Resumed): S.PENDING,
    (S.DOWNLOADING, Resumed): S.DOWNLOADING,
    (S.VERIFYING, Resumed): S.VERIFYING,
    # The agent ends: what it holds on trial is given back.
    (S.PENDING, Drained): S.PENDING,
    (S.DOWNLOADING, Drained): S.DOWNLOADING,
    (S.VERIFYING, Drained): S.VERIFYING,
    (S.PROBATION, Drained): S.VERIFYING,
}
"""Every pair of state and event that is not here is refused on purpose; see `IllegalMove`."""

_FIRST_STEP: Mapping[State, str] = {S.PENDING: "reserve", S.DOWNLOADING: "download", S.VERIFYING: "verify"}
_NEXT_STEP: Mapping[type[Event], str] = {
    Begun: "reserve",
    Reserved: "download",
    Fetched: "verify",
    Verified: "load",
    Loaded: "swap",
    Swapped: "watch",
    Passed: "adopt",
}


class IllegalMove(FleetError):
    """An event came in a state in which it cannot happen: a bug of this agent."""

    code = "illegal-move"


def step(update: Update, event: Event, now: float) -> tuple[Update, tuple[Effect, ...]]:
    """What becomes of an update, and what is to be done.

    Args:
        now: seconds of the clock on which deadlines stand.

    Raises IllegalMove where the table has no such move. An event of another generation, or after the end, changes nothing, but
    that what succeeded may be given up.
    """
    if event.generation != update.generation:
        return update, ()
    if update.state in ENDS and (update.state, type(event)) not in MOVES:
        return update, ()
    if (update.state, type(event)) not in MOVES:
        raise IllegalMove(f"update of {update.model}: {type(event).__name__} in {update.state}")
    state = MOVES[update.state, type(event)]
    if isinstance(event, Crashed) and update.state in (S.VERIFYING, S.PROBATION):
        update = replace(update, crashes=update.crashes + 1)
        if update.crashes >= CRASH_LIMIT:
            state = S.ROLLED_BACK if update.state is S.PROBATION else S.FAILED
            event = Broke(event.generation, "crash-loop", f"the agent crashed {update.crashes} times with this model")
    return _entered(update, event, state, now)


def _entered(update: Update, event: Event, state: State, now: float) -> tuple[Update, tuple[Effect, ...]]:
    tried = update.state is S.PROBATION
    moved = replace(update, state=state)
    if state is not update.state or isinstance(event, Begun | Crashed | Resumed):
        moved = replace(moved, deadline=now + LIMIT_S[state] + (update.policy.duration_s if state is S.PROBATION else 0.0)
                        if state in LIMIT_S else math.inf)  # fmt: skip
    match event:
        case Passed(findings=findings):
            moved = replace(moved, findings=findings)
        case Kept(findings=findings):
            return replace(moved, findings=findings), (Release(),)
        case Regressed(reason=reason, detail=detail, findings=findings):
            return replace(moved, reason=reason, detail=detail, findings=findings), (Restore(), Release())
        case Broke(reason=reason, detail=detail) | GivenUp(reason=reason, detail=detail):
            return replace(moved, reason=reason, detail=detail), _way_back(tried)
        case Expired():
            return replace(moved, reason="timed-out", detail=f"longer in {update.state} than is allowed"), _way_back(tried)
        case Superseded():
            return replace(moved, reason="superseded", detail="the cloud wants something else"), _way_back(tried)
        case Deferred(detail=detail):
            return replace(moved, detail=detail), (RunLater(_FIRST_STEP[state]),)
        case Crashed() | Resumed():
            return moved, (Run(_FIRST_STEP[state]),)
        case Drained():
            return moved, (Release(),)
    return replace(moved, detail=""), (Run(_NEXT_STEP[type(event)]),)


def _way_back(tried: bool) -> tuple[Effect, ...]:
    return (Restore(), Release()) if tried else (Release(),)
