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


class ModelUpdateState(StrEnum):
    """The values of littoral.fleet.v1.UpdateState, without its prefix."""

    PENDING = "PENDING"
    DOWNLOADING = "DOWNLOADING"
    VERIFYING = "VERIFYING"
    PROBATION = "PROBATION"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    ROLLED_BACK = "ROLLED_BACK"
    ABORTED = "ABORTED"


ENDS = frozenset({ModelUpdateState.SUCCEEDED, ModelUpdateState.FAILED, ModelUpdateState.ROLLED_BACK, ModelUpdateState.ABORTED})

LIMIT_S: Mapping[ModelUpdateState, float] = {
    ModelUpdateState.PENDING: 3_600.0,
    ModelUpdateState.DOWNLOADING: 24 * 3_600.0,  # a slow line is not an error
    ModelUpdateState.VERIFYING: 300.0,
    ModelUpdateState.PROBATION: 120.0,  # beyond the probation's own duration
}
"""How long a state may last before the update is given up; seconds. It counts anew after a restart of the agent."""


@dataclass(frozen=True, slots=True)
class ProbationPolicy:
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
    policy: ProbationPolicy = field(default_factory=ProbationPolicy)
    replaces: str = ""  # manifest digest that was active when it began; empty: none
    proved: bool = False  # it was kept here before: it goes in without a new probation
    state: ModelUpdateState = ModelUpdateState.PENDING
    crashes: int = 0  # of the agent while this model was being loaded or on trial
    deadline: float = math.inf
    reason: str = ""
    detail: str = ""
    findings: Findings | None = None


@dataclass(frozen=True, slots=True)
class UpdateEvent:
    """`generation` says which update it is of: one of an update that was superseded changes nothing."""

    generation: int


@dataclass(frozen=True, slots=True)
class Started(UpdateEvent):
    """The wish was read and written to the journal."""


@dataclass(frozen=True, slots=True)
class Reserved(UpdateEvent): ...


@dataclass(frozen=True, slots=True)
class Fetched(UpdateEvent): ...


@dataclass(frozen=True, slots=True)
class Verified(UpdateEvent): ...


@dataclass(frozen=True, slots=True)
class Loaded(UpdateEvent):
    """Loaded, and right on the probe."""


@dataclass(frozen=True, slots=True)
class Swapped(UpdateEvent):
    """It answers requests."""


@dataclass(frozen=True, slots=True)
class ProbationPassed(UpdateEvent):
    """It did well on trial."""

    findings: Findings | None = None


@dataclass(frozen=True, slots=True)
class Committed(UpdateEvent):
    """It answers requests from the agent's own process, and is the active model on the disk."""

    findings: Findings | None = None


@dataclass(frozen=True, slots=True)
class ProbationFailed(UpdateEvent):
    reason: str
    detail: str
    findings: Findings | None = None


@dataclass(frozen=True, slots=True)
class StepFailed(UpdateEvent):
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class GivenUp(UpdateEvent):
    """It was the active model, and took the agent down or hung too often since: the one before is active again."""

    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Deferred(UpdateEvent):
    """The step cannot be done now, but later perhaps: no way to the cloud."""

    detail: str


@dataclass(frozen=True, slots=True)
class TimedOut(UpdateEvent):
    """The state lasted longer than LIMIT_S."""


@dataclass(frozen=True, slots=True)
class Superseded(UpdateEvent):
    """The cloud wants something else of this model."""


@dataclass(frozen=True, slots=True)
class AgentCrashed(UpdateEvent):
    """The agent was gone without a word, and is back."""


@dataclass(frozen=True, slots=True)
class AgentDrained(UpdateEvent):
    """The agent ends, or was ended, in good order."""


@dataclass(frozen=True, slots=True)
class AgentResumed(UpdateEvent):
    """The agent is back after it ended in good order."""


@dataclass(frozen=True, slots=True)
class UpdateEffect: ...


@dataclass(frozen=True, slots=True)
class RunStep(UpdateEffect):
    """Do this step next."""

    step: str


@dataclass(frozen=True, slots=True)
class RetryStep(UpdateEffect):
    """Do this step again, after a pause."""

    step: str


@dataclass(frozen=True, slots=True)
class RestorePrevious(UpdateEffect):
    """The model that stood by answers requests again, at once."""


@dataclass(frozen=True, slots=True)
class CloseCandidate(UpdateEffect):
    """Whatever was loaded for this update and does not serve is closed."""


S = ModelUpdateState
ACTIVE = (S.PENDING, S.DOWNLOADING, S.VERIFYING, S.PROBATION)

MOVES: Mapping[tuple[ModelUpdateState, type[UpdateEvent]], ModelUpdateState] = {
    (S.PENDING, Started): S.PENDING,
    (S.PENDING, Reserved): S.DOWNLOADING,
    (S.DOWNLOADING, Fetched): S.VERIFYING,
    (S.VERIFYING, Verified): S.VERIFYING,
    (S.VERIFYING, Loaded): S.PROBATION,
    (S.PROBATION, Swapped): S.PROBATION,
    (S.PROBATION, ProbationPassed): S.PROBATION,
    (S.PROBATION, Committed): S.SUCCEEDED,
    (S.PROBATION, ProbationFailed): S.ROLLED_BACK,
    # It was good, until it was not.
    (S.SUCCEEDED, GivenUp): S.ROLLED_BACK,
    # The wish is what is active already.
    (S.PENDING, Committed): S.SUCCEEDED,
    # No way now.
    (S.PENDING, Deferred): S.PENDING,
    (S.DOWNLOADING, Deferred): S.DOWNLOADING,
    (S.VERIFYING, Deferred): S.VERIFYING,  # a damaged file was to be fetched again
    # Something is wrong for good.
    (S.PENDING, StepFailed): S.FAILED,
    (S.DOWNLOADING, StepFailed): S.FAILED,
    (S.VERIFYING, StepFailed): S.FAILED,
    (S.PROBATION, StepFailed): S.ROLLED_BACK,
    (S.PENDING, TimedOut): S.FAILED,
    (S.DOWNLOADING, TimedOut): S.FAILED,
    (S.VERIFYING, TimedOut): S.FAILED,
    (S.PROBATION, TimedOut): S.ROLLED_BACK,
    # The cloud changed its mind.
    (S.PENDING, Superseded): S.ABORTED,
    (S.DOWNLOADING, Superseded): S.ABORTED,
    (S.VERIFYING, Superseded): S.ABORTED,
    (S.PROBATION, Superseded): S.ABORTED,
    # The agent was away: what serves is the active model, so probation begins again. `step` counts the crashes.
    (S.PENDING, AgentCrashed): S.PENDING,
    (S.DOWNLOADING, AgentCrashed): S.DOWNLOADING,
    (S.VERIFYING, AgentCrashed): S.VERIFYING,
    (S.PROBATION, AgentCrashed): S.VERIFYING,
    (S.PENDING, AgentResumed): S.PENDING,
    (S.DOWNLOADING, AgentResumed): S.DOWNLOADING,
    (S.VERIFYING, AgentResumed): S.VERIFYING,
    # The agent ends: what it holds on trial is given back.
    (S.PENDING, AgentDrained): S.PENDING,
    (S.DOWNLOADING, AgentDrained): S.DOWNLOADING,
    (S.VERIFYING, AgentDrained): S.VERIFYING,
    (S.PROBATION, AgentDrained): S.VERIFYING,
}
"""Every pair of state and event that is not here is refused on purpose; see `IllegalMove`."""

_FIRST_STEP: Mapping[ModelUpdateState, str] = {S.PENDING: "reserve", S.DOWNLOADING: "download", S.VERIFYING: "verify"}
_NEXT_STEP: Mapping[type[UpdateEvent], str] = {
    Started: "reserve",
    Reserved: "download",
    Fetched: "verify",
    Verified: "load",
    Loaded: "swap",
    Swapped: "watch",
    ProbationPassed: "adopt",
}


class IllegalUpdateMove(FleetError):
    """An event came in a state in which it cannot happen: a bug of this agent."""

    code = "illegal-move"


def step(update: Update, event: UpdateEvent, now: float) -> tuple[Update, tuple[UpdateEffect, ...]]:
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
        raise IllegalUpdateMove(f"update of {update.model}: {type(event).__name__} in {update.state}")
    state = MOVES[update.state, type(event)]
    if isinstance(event, AgentCrashed) and update.state in (S.VERIFYING, S.PROBATION):
        update = replace(update, crashes=update.crashes + 1)
        if update.crashes >= CRASH_LIMIT:
            state = S.ROLLED_BACK if update.state is S.PROBATION else S.FAILED
            event = StepFailed(event.generation, "crash-loop", f"the agent crashed {update.crashes} times with this model")
    return _entered(update, event, state, now)


def _entered(update: Update, event: UpdateEvent, state: ModelUpdateState, now: float) -> tuple[Update, tuple[UpdateEffect, ...]]:
    tried = update.state is S.PROBATION
    moved = replace(update, state=state)
    if state is not update.state or isinstance(event, Started | AgentCrashed | AgentResumed):
        moved = replace(moved, deadline=now + LIMIT_S[state] + (update.policy.duration_s if state is S.PROBATION else 0.0)
                        if state in LIMIT_S else math.inf)  # fmt: skip
    match event:
        case ProbationPassed(findings=findings):
            moved = replace(moved, findings=findings)
        case Committed(findings=findings):
            return replace(moved, findings=findings), (CloseCandidate(),)
        case ProbationFailed(reason=reason, detail=detail, findings=findings):
            return replace(moved, reason=reason, detail=detail, findings=findings), (RestorePrevious(), CloseCandidate())
        case StepFailed(reason=reason, detail=detail) | GivenUp(reason=reason, detail=detail):
            return replace(moved, reason=reason, detail=detail), _way_back(tried)
        case TimedOut():
            return replace(moved, reason="timed-out", detail=f"longer in {update.state} than is allowed"), _way_back(tried)
        case Superseded():
            return replace(moved, reason="superseded", detail="the cloud wants something else"), _way_back(tried)
        case Deferred(detail=detail):
            return replace(moved, detail=detail), (RetryStep(_FIRST_STEP[state]),)
        case AgentCrashed() | AgentResumed():
            return moved, (RunStep(_FIRST_STEP[state]),)
        case AgentDrained():
            return moved, (CloseCandidate(),)
    return replace(moved, detail=""), (RunStep(_NEXT_STEP[type(event)]),)


def _way_back(tried: bool) -> tuple[UpdateEffect, ...]:
    return (RestorePrevious(), CloseCandidate()) if tried else (CloseCandidate(),)
