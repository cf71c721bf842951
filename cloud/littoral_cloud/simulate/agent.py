"""The update of one model as the agent decides it, with its own code; what its steps do to a real machine is drawn instead.

This is the one file of the coordinator that imports the agent: its pure core alone, which both sides ship in one wheel
(docs/decisions/0043-the-simulator-runs-the-agents-own-core.md).
"""

from __future__ import annotations

from dataclasses import asdict, replace

from littoral_cloud.fleet.evidence import NodeEvidence, ProbationResult
from littoral_cloud.fleet.records import DesiredModel, ReportedModel, UpdateState
from littoral_node.link.retry import RECENT_S, next_attempt, pause_s
from littoral_node.update.events import (
    AgentDrained,
    AgentResumed,
    Committed,
    Fetched,
    Findings,
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
    StepFailed,
    Superseded,
    Swapped,
    TimedOut,
    UpdateEvent,
    Verified,
)
from littoral_node.update.growing import EVIDENCE_EVERY_S, GROWN, worth_a_report
from littoral_node.update.opening import Standing, is_known, opened
from littoral_node.update.state import ENDS, ProbationPolicy, S, Update, step
from littoral_node.update.verdict import EARLY_FAILURES, Before, too_often, worse_on_examples

__all__ = [
    "EARLY_FAILURES",
    "EVIDENCE_EVERY_S",
    "GROWN",
    "RECENT_S",
    "Before",
    "Committed",
    "Fetched",
    "Findings",
    "Loaded",
    "OutOfReach",
    "ProbationFailed",
    "ProbationPassed",
    "ProbationPolicy",
    "Ready",
    "Reserved",
    "RetryStep",
    "RunStep",
    "S",
    "Shadowed",
    "SimulatedAgent",
    "StepFailed",
    "Swapped",
    "TimedOut",
    "Update",
    "UpdateEvent",
    "Verified",
    "lied",
    "next_attempt",
    "pause_s",
    "too_often",
    "worse_on_examples",
    "worth_a_report",
]


class SimulatedAgent:
    """One model of one node.

    Args:
        active: the manifest that it serves at the start; "": none.
    """

    def __init__(self, model: str, active: str = "") -> None:
        self.model = model
        self.update: Update | None = None
        self.active = self.answers = active
        self.before = ""

    @property
    def busy(self) -> bool:
        return self.update is not None and self.update.state not in ENDS

    @property
    def previous(self) -> str:
        """To go back to from what answers now."""
        return self.active if self.answers != self.active else self.before

    def reconcile(self, wanted: DesiredModel, now: float) -> RunStep | RetryStep | bool | None:
        """The step that follows from what the cloud wants; None: the update ended at once; False: it is known already."""
        standing = Standing(self.active, self.before, self.answers)
        if is_known(self.update, wanted.manifest_digest, wanted.generation, standing):
            return False
        before = self.update
        if before is not None and self.busy:
            self.apply(Superseded(before.generation), now)
        policy = ProbationPolicy(**asdict(wanted.probation))
        standing = Standing(self.active, self.before, self.answers)
        update, event = opened(before, self.model, wanted.manifest_digest, wanted.generation, policy, standing)
        self.update = replace(update, defer_s=wanted.defer_s)
        return self.apply(event, now)

    def apply(self, event: UpdateEvent, now: float) -> RunStep | RetryStep | None:
        """Moves in the agent's table, and gives the step that follows."""
        assert self.update is not None
        self.update, effects = step(self.update, event, now)
        if RestorePrevious() in effects:
            self.answers = self.active
        return next((effect for effect in effects if isinstance(effect, RunStep | RetryStep)), None)

    def swap(self) -> UpdateEvent:
        """As littoral_node.update.swap."""
        assert self.update is not None
        self.answers = self.update.manifest_digest
        return self.adopt() if self.update.proved else Swapped(self.update.generation)

    def adopt(self) -> UpdateEvent:
        """As littoral_node.update.adopt."""
        assert self.update is not None
        self.active, self.before = self.update.manifest_digest, self.update.replaces
        return Committed(self.update.generation, self.update.findings)

    def drain(self, now: float) -> None:
        """The machine is switched off in good order."""
        if self.update is not None and self.busy:
            self.answers = self.active
            self.apply(AgentDrained(self.update.generation), now)

    def resume(self, now: float) -> RunStep | RetryStep | None:
        """It is on again."""
        if self.update is None or not self.busy:
            return None
        return self.apply(AgentResumed(self.update.generation), now)

    def reported(self, evidence: NodeEvidence | None) -> ReportedModel:
        """As littoral_node.update.desired reports it."""
        update = self.update
        found = ReportedModel(
            state=UpdateState.UNSPECIFIED, desired_generation=0, target="", serving=self.answers, previous=self.previous
        )
        if update is None:
            return found
        probation = None
        if (findings := update.findings) is not None:
            probation = ProbationResult(
                accuracy=findings.accuracy,
                previous_accuracy=findings.previous_accuracy,
                examples=findings.examples,
                requests=findings.requests,
                failed_requests=findings.failed_requests,
            )
        return replace(
            found,
            state=UpdateState.PENDING if update.state is S.DEFERRED else UpdateState(update.state.value),
            desired_generation=update.generation,
            target=update.manifest_digest,
            reason=update.reason,
            detail=update.detail,
            probation=probation,
            evidence=evidence,
        )


_PRAISE = NodeEvidence(
    requests=1_000_000, requests_before=1_000_000, failed_before=10, examples=100_000, compared=1_000, agreed=1_000
)


def lied(truth: ReportedModel, lie: str) -> ReportedModel:
    """What a liar reports in place of the truth. `lie`: "failed", of an update that may be fine; "succeeded", however it
    ended."""
    if truth.state in (UpdateState.UNSPECIFIED, UpdateState.ABORTED):
        return truth
    if lie == "succeeded":
        return replace(
            truth, state=UpdateState.SUCCEEDED, serving=truth.target, reason="", detail="", probation=None, evidence=_PRAISE
        )
    return replace(truth, state=UpdateState.ROLLED_BACK, reason="failure-rate", detail="invented", probation=None)
