"""The update of one model on one node: what may happen when, as a table, and a step that only decides.

    PENDING      wait for the node's time; fetch the manifest, check its signature, find room on the
                 disk                                                                                 steps: turn, reserve
    DEFERRED     the node is busy, trains, or has a low battery: the update is put off                step: turn
    DOWNLOADING  fetch the files                                                                      step: download
    VERIFYING    check the digests; load the model in an isolated process, and try it on the
                 manifest's probe                                                                     steps: verify, load
    PROBATION    where the cloud asks for it, the isolated model first runs beside the previous one
                 and its answers are only compared (shadow); then it answers requests and the
                 previous one stands by (swap, watch); when it has passed, the agent loads it in
                 its own process                                                                      steps: shadow, ..., adopt
    SUCCEEDED, FAILED, ROLLED_BACK, ABORTED    ends. Only a model that is given up later turns a SUCCEEDED into a ROLLED_BACK.

On the disk the previous model stays the active one until the new one has passed probation. So a crash at any point, in probation
too, restarts with a proved model. What ends an update badly, and after how many times: littoral_node.supervision.failures.

Example: Started -> PENDING and the step "turn"; Ready and "reserve"; Reserved -> DOWNLOADING and "download"; then the agent is
killed. At its next start the journal has DOWNLOADING: AgentCrashed -> DOWNLOADING and "download", which resumes at the byte.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from littoral.errors import FleetError
from littoral_node.supervision.failures import FAILURES, Consequence, Failure, Phase, outcome
from littoral_node.update.events import (
    AgentCrashed,
    AgentDrained,
    AgentResumed,
    CloseCandidate,
    Committed,
    Deferral,
    Deferred,
    Fetched,
    Findings,
    GivenUp,
    Loaded,
    OutOfReach,
    ProbationFailed,
    ProbationPassed,
    Ready,
    Reserved,
    RestorePrevious,
    RetryStep,
    RunStep,
    Shadowed,
    Started,
    StepFailed,
    Superseded,
    Swapped,
    TimedOut,
    UpdateEffect,
    UpdateEvent,
    Verified,
)


class ModelUpdateState(StrEnum):
    """The values of littoral.fleet.v1.UpdateState, without its prefix; DEFERRED is PENDING there, with a Deferral."""

    PENDING = "PENDING"
    DEFERRED = "DEFERRED"
    DOWNLOADING = "DOWNLOADING"
    VERIFYING = "VERIFYING"
    PROBATION = "PROBATION"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    ROLLED_BACK = "ROLLED_BACK"
    ABORTED = "ABORTED"


S = ModelUpdateState
PHASES: Mapping[S, Phase] = {
    S.PENDING: Phase.FETCHING,
    S.DEFERRED: Phase.FETCHING,
    S.DOWNLOADING: Phase.FETCHING,
    S.VERIFYING: Phase.VERIFYING,
    S.PROBATION: Phase.PROBATION,
}
ACTIVE = tuple(PHASES)
ENDS = frozenset(S) - frozenset(ACTIVE)

LIMIT_S: Mapping[S, float] = {
    S.PENDING: 3_600.0,
    S.DEFERRED: 60.0,  # beyond what the cloud allows
    S.DOWNLOADING: 24 * 3_600.0,  # a slow line is not an error
    S.VERIFYING: 300.0,
    S.PROBATION: 120.0,  # beyond the durations of shadow and probation
}
"""Seconds that a state may last. After a restart of the agent they count from 0."""

ERROR = 0.01
"""The chance that a good model fails by this node's judgement, where the cloud names none."""


@dataclass(frozen=True, slots=True)
class ProbationPolicy:
    """When a new model is good enough to stay; see ProbationPolicy in session.proto."""

    duration_s: float = 3.0
    max_accuracy_drop: float = 0.05
    max_failure_rate: float = 0.01
    shadow_s: float = 0.0  # before the probation
    compare: int = 0
    evidence_s: float = 0.0
    error: float = 0.0  # the chance that a good model fails by this node's judgement; 0: ERROR


@dataclass(frozen=True, slots=True)
class Update:
    """What the cloud desires of one model, and how far it is. `generation` is DesiredModel.generation."""

    model: str
    manifest_digest: str
    generation: int
    policy: ProbationPolicy = field(default_factory=ProbationPolicy)
    replaces: str = ""  # manifest digest that was active at the start; empty: none
    proved: bool = False  # this node has proved it before: no new probation
    state: S = S.PENDING
    crashes: int = 0  # of the agent in VERIFYING and PROBATION
    deadline: float = math.inf  # on the clock of this boot
    reason: str = ""
    detail: str = ""
    findings: Findings | None = None
    defer_s: float = 0.0  # for how long the node may put it off, all times together
    deferral: Deferral | None = None  # that it does, or did


_BAD_ENDS = {Consequence.FAILED: S.FAILED, Consequence.ROLLED_BACK: S.ROLLED_BACK}

MOVES: Mapping[tuple[S, type[UpdateEvent]], S] = {
    (S.PENDING, Started): S.PENDING,
    (S.PENDING, Ready): S.PENDING,
    (S.PENDING, Deferred): S.DEFERRED,
    (S.DEFERRED, Deferred): S.DEFERRED,
    (S.DEFERRED, Ready): S.PENDING,
    (S.PENDING, Reserved): S.DOWNLOADING,
    (S.DOWNLOADING, Fetched): S.VERIFYING,
    (S.VERIFYING, Verified): S.VERIFYING,
    (S.VERIFYING, Loaded): S.PROBATION,
    (S.PROBATION, Shadowed): S.PROBATION,
    (S.PROBATION, Swapped): S.PROBATION,
    (S.PROBATION, ProbationPassed): S.PROBATION,
    (S.PROBATION, Committed): S.SUCCEEDED,
    # The desired artifact is the active one already.
    (S.PENDING, Committed): S.SUCCEEDED,
    # The cloud cannot be reached now. In VERIFYING a damaged file is fetched again.
    **{(state, OutOfReach): state for state in (S.PENDING, S.DOWNLOADING, S.VERIFYING)},
    # Something is wrong for good.
    (S.PROBATION, ProbationFailed): _BAD_ENDS[outcome(Phase.PROBATION, Failure.JUDGED_WORSE)],
    **{(state, StepFailed): _BAD_ENDS[outcome(PHASES[state], Failure.STEP_FAILED)] for state in ACTIVE},
    **{(state, TimedOut): _BAD_ENDS[outcome(PHASES[state], Failure.TIMED_OUT)] for state in ACTIVE},
    (S.SUCCEEDED, GivenUp): S.ROLLED_BACK,
    # The cloud changed its mind.
    **{(state, Superseded): S.ABORTED for state in ACTIVE},
    # The agent was away. The active model serves, so a probation starts again. `step` counts the crashes.
    **{(state, AgentCrashed): state for state in ACTIVE if state is not S.PROBATION},
    (S.PROBATION, AgentCrashed): S.VERIFYING,
    **{(state, AgentResumed): state for state in ACTIVE if state is not S.PROBATION},
    # The agent ends: the model before the candidate answers.
    **{(state, AgentDrained): state for state in ACTIVE if state is not S.PROBATION},
    (S.PROBATION, AgentDrained): S.VERIFYING,
}
"""Every pair of state and event that is not here is refused on purpose; see `IllegalUpdateMove`."""

_FIRST_STEP: Mapping[S, str] = {S.PENDING: "turn", S.DEFERRED: "turn", S.DOWNLOADING: "download", S.VERIFYING: "verify"}
_NEXT_STEP: Mapping[type[UpdateEvent], str] = {
    Started: "turn",
    Ready: "reserve",
    Reserved: "download",
    Fetched: "verify",
    Verified: "load",
    Loaded: "shadow",
    Shadowed: "swap",
    Swapped: "watch",
    ProbationPassed: "adopt",
}


class IllegalUpdateMove(FleetError):
    """An event came in a state in which it cannot happen: a bug of this agent."""

    code = "illegal-move"


def step(update: Update, event: UpdateEvent, now: float) -> tuple[Update, tuple[UpdateEffect, ...]]:
    """What becomes of an update, and what is to be done.

    Args:
        now: seconds of the clock of `deadline`.

    Raises IllegalUpdateMove where the table has no such move. An event of another generation changes nothing, and neither does
    one after the end, except that an update that succeeded may be given up.
    """
    if event.generation != update.generation:
        return update, ()
    if update.state in ENDS and (update.state, type(event)) not in MOVES:
        return update, ()
    if (update.state, type(event)) not in MOVES:
        raise IllegalUpdateMove(f"update of {update.model}: {type(event).__name__} in {update.state}")
    state = MOVES[update.state, type(event)]
    if isinstance(event, AgentCrashed) and counts_crashes(update.state):
        update = replace(update, crashes=update.crashes + 1)
        following = outcome(PHASES[update.state], Failure.AGENT_CRASHED, update.crashes)
        if following in _BAD_ENDS:
            state = _BAD_ENDS[following]
            event = StepFailed(event.generation, "crash-loop", f"the agent crashed {update.crashes} times with this model")
    return _entered(update, event, state, now)


def counts_crashes(state: S) -> bool:
    """Whether an update in this state counts a crash of the agent itself; else the crash record counts it."""
    return state in PHASES and FAILURES[PHASES[state], Failure.AGENT_CRASHED].limit is not None


def _entered(update: Update, event: UpdateEvent, state: S, now: float) -> tuple[Update, tuple[UpdateEffect, ...]]:
    on_trial = update.state is S.PROBATION
    moved = replace(update, state=state)
    if state is not update.state or isinstance(event, Started | AgentCrashed | AgentResumed):
        moved = replace(moved, deadline=_deadline(update, state, now))
    match event:
        case ProbationPassed(findings=findings):
            moved = replace(moved, findings=findings)
        case Committed(findings=findings):
            return replace(moved, findings=findings), (CloseCandidate(),)
        case ProbationFailed(reason=reason, detail=detail, findings=findings):
            return replace(moved, reason=reason, detail=detail, findings=findings), (RestorePrevious(), CloseCandidate())
        case StepFailed(reason=reason, detail=detail) | GivenUp(reason=reason, detail=detail):
            return replace(moved, reason=reason, detail=detail), _way_back(on_trial)
        case TimedOut():
            return replace(moved, reason="timed-out", detail=f"longer in {update.state} than is allowed"), _way_back(on_trial)
        case Superseded():
            return replace(moved, reason="superseded", detail="the cloud wants something else"), _way_back(on_trial)
        case Deferred(deferral=deferral):
            return replace(moved, deferral=deferral, detail=f"put off: {deferral.reason}"), (RunStep("turn"),)
        case Ready() if moved.deferral is not None:
            moved = replace(moved, deferral=replace(moved.deferral, over=True))
        case OutOfReach(detail=detail):
            return replace(moved, detail=detail), (RetryStep(_FIRST_STEP[state]),)
        case AgentCrashed() | AgentResumed():
            return moved, (RunStep(_FIRST_STEP[state]),)
        case AgentDrained():
            return moved, (CloseCandidate(),)
    return replace(moved, detail=""), (RunStep(_NEXT_STEP[type(event)]),)


def _deadline(update: Update, state: S, now: float) -> float:
    if state not in LIMIT_S:
        return math.inf
    beyond = {S.PROBATION: update.policy.shadow_s + update.policy.duration_s, S.DEFERRED: update.defer_s}
    return now + LIMIT_S[state] + beyond.get(state, 0.0)


def _way_back(on_trial: bool) -> tuple[UpdateEffect, ...]:
    return (RestorePrevious(), CloseCandidate()) if on_trial else (CloseCandidate(),)
