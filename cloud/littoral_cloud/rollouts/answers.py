"""How far a node is with what a rollout asked of it, by its last report. Pure."""

from __future__ import annotations

from enum import Enum, auto

from littoral_cloud.fleet.records import Enrolment, ReportedModel, UpdateState
from littoral_cloud.rollouts.assignments import Assignment, AssignmentState
from littoral_cloud.rollouts.fleet_node import FleetNode
from littoral_cloud.rollouts.permission import moment

BAD_ENDS = (UpdateState.FAILED, UpdateState.ROLLED_BACK, UpdateState.ABORTED)
GONE = "is not part of the fleet any more"


class NodeAnswer(Enum):
    """How far a node that was touched is with its candidate, or on its way back."""

    AWAITED = auto()
    PASSED = auto()
    BAD = auto()
    NOT_OURS = auto()  # something else is wanted of it, or it left the fleet: nothing is expected of it


def answer_of(a: Assignment, node: FleetNode | None, model: str) -> NodeAnswer | None:
    """None: nothing is waited for. One that has passed is not waited for; a bad end of it still counts."""
    match a.state:
        case AssignmentState.TOLD:
            return _answer(a, node, model, a.generation)
        case AssignmentState.COMMITTED:
            answer = _answer(a, node, model, a.generation)
            return answer if answer is NodeAnswer.BAD else None
        case AssignmentState.RESTORING:
            return _answer(a, node, model, a.restore_generation)
        case _:
            return None


def _answer(a: Assignment, node: FleetNode | None, model: str, generation: int) -> NodeAnswer:
    if node is None or not_ours(node, model, generation) is not None:
        return NodeAnswer.NOT_OURS
    report = _report(node, model, generation)
    if report is None:
        return NodeAnswer.AWAITED
    if report.state in BAD_ENDS:
        return NodeAnswer.BAD
    wanted = a.previous if a.state is AssignmentState.RESTORING else a.manifest_digest
    kept = report.state is UpdateState.SUCCEEDED and (a.state is AssignmentState.RESTORING or report.serving == wanted)
    return NodeAnswer.PASSED if kept else NodeAnswer.AWAITED


def not_ours(node: FleetNode | None, model: str, generation: int) -> str | None:
    """Why nothing is expected of a touched node any more; None: what was asked of it still stands."""
    if node is None or node.node.enrolment is not Enrolment.ACCEPTED:
        return GONE
    wanted = node.wanted(model)
    if wanted is None or wanted.generation != generation:
        return "was asked for something else meanwhile"
    return None


def bad_end(node: FleetNode, model: str, generation: int) -> str | None:
    """How a node failed, in an operator's words; None: it has not."""
    report = _report(node, model, generation)
    if report is None or report.state not in BAD_ENDS:
        return None
    return f"{report.state}: {report.reason or 'no reason given'}: {report.detail}".rstrip(": ")


def _report(node: FleetNode, model: str, generation: int) -> ReportedModel | None:
    """What it says of this generation."""
    report = node.report(model)
    return report if report is not None and report.desired_generation == generation else None


def heard_since(a: Assignment, node: FleetNode, model: str) -> float | None:
    """From when on its silence counts: since its desired state was handed to a session. None: it was handed to none yet.

    A report about it shows that it was handed over, also where that was not written down.
    """
    handed = node.handed.models.get(model) if node.handed is not None else None
    if handed is not None and handed.generation == a.generation:
        return handed.at
    return a.told_at if _report(node, model, a.generation) is not None else None


def has_deferred(a: Assignment, node: FleetNode, model: str) -> bool:
    """It puts this update off, or did."""
    report = _report(node, model, a.generation)
    return report is not None and report.deferral is not None


def no_answer(a: Assignment, node: FleetNode, model: str) -> str:
    """How far a node of the running wave is, in an operator's words, without its name; and since when it is away, if it is."""
    away = f", away since {moment(node.presence.since)}" if node.presence is not None and not node.presence.connected else ""
    return f"{_how_far(a, node, model)}{away}"


def _how_far(a: Assignment, node: FleetNode, model: str) -> str:
    report = _report(node, model, a.generation)
    if report is not None:
        why = f" ({report.deferral.reason})" if report.state is UpdateState.DEFERRED and report.deferral is not None else ""
        return f"{report.state}{why}"
    return "no answer" if heard_since(a, node, model) is not None else "no session was handed it yet"


def unproved(node: FleetNode, model: str) -> bool:
    """Whether the node keeps what no request and no labelled example has tried there."""
    report = node.report(model)
    probation = report.probation if report else None
    return probation is not None and probation.requests == 0 and probation.examples == 0
