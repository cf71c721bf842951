"""What one node gets in one rollout: a document of its own, id ROLLOUT/NODE, and a table of what may become of it when.

    PLANNED      it has a turn to come
    TOLD         its desired state names the candidate
    COMMITTED    it serves the candidate, after probation
    FAILED       it could not take the candidate, or could not go back, or was silent for too long
    RESTORING    its desired state names what it had before
    RESTORED     it has what it had before
    DROPPED      nothing is expected of it any more, for the reason in `why`
    REFUSED      no candidate fitted what it might spend

The rollout's controller alone writes them, with the lease's fence, some BATCH_NODES in one Change. So a coordinator that is
killed between two Changes leaves documents from which the next one goes on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from littoral.budget import Budget
from littoral.errors import FleetError
from littoral_cloud.fleet.evidence import NodeEvidence
from littoral_cloud.fleet.ledger import Doc, Ledger

KIND = "assignment"
BATCH_NODES = 200
"""Of one Change: Redis answers no other call meanwhile."""
PAGE_NODES = 500


class AssignmentState(StrEnum):
    PLANNED = "PLANNED"
    TOLD = "TOLD"
    COMMITTED = "COMMITTED"
    FAILED = "FAILED"
    RESTORING = "RESTORING"
    RESTORED = "RESTORED"
    DROPPED = "DROPPED"
    REFUSED = "REFUSED"


class AssignmentEvent(StrEnum):
    TURN_CAME = "TurnCame"  # its desired state is written in the same Change
    LEFT_OUT = "LeftOut"  # it is offline, out of the fleet, asked for something else, or was not reached
    PASSED = "Passed"  # it reports that it serves the candidate after probation
    BROKE = "Broke"  # it reports a bad end
    TOLD_BACK = "ToldBack"  # its desired state is what it had before, in the same Change
    HAD_NOTHING = "HadNothing"  # the model is wanted of it no more, in the same Change
    WENT_BACK = "WentBack"  # it reports that it serves what it had before
    SILENT = "Silent"  # its time is over


A = AssignmentState
E = AssignmentEvent

MOVES: Mapping[tuple[AssignmentState, AssignmentEvent], AssignmentState] = {
    (A.PLANNED, E.TURN_CAME): A.TOLD,
    (A.PLANNED, E.LEFT_OUT): A.DROPPED,
    (A.TOLD, E.PASSED): A.COMMITTED,
    (A.TOLD, E.BROKE): A.FAILED,
    (A.TOLD, E.SILENT): A.FAILED,
    (A.TOLD, E.LEFT_OUT): A.DROPPED,
    (A.TOLD, E.TOLD_BACK): A.RESTORING,
    (A.TOLD, E.HAD_NOTHING): A.RESTORED,
    (A.COMMITTED, E.BROKE): A.FAILED,
    (A.COMMITTED, E.LEFT_OUT): A.DROPPED,
    (A.COMMITTED, E.TOLD_BACK): A.RESTORING,
    (A.COMMITTED, E.HAD_NOTHING): A.RESTORED,
    (A.FAILED, E.LEFT_OUT): A.DROPPED,
    (A.FAILED, E.TOLD_BACK): A.RESTORING,
    (A.FAILED, E.HAD_NOTHING): A.RESTORED,
    (A.RESTORING, E.WENT_BACK): A.RESTORED,
    (A.RESTORING, E.BROKE): A.FAILED,
    (A.RESTORING, E.SILENT): A.FAILED,
    (A.RESTORING, E.LEFT_OUT): A.DROPPED,
}
"""Every pair that is not here is refused on purpose: `moved` raises IllegalAssignmentMove."""

OWNER = "the controller with the lease `rollouts`"
DEADLINES: Mapping[AssignmentState, tuple[str, str]] = {
    A.PLANNED: ("its turn, or the end of the rollout", "DROPPED where it is offline at its turn"),
    A.TOLD: (
        "wave_s and the probation, from the moment its desired state was handed to a session",
        "FAILED, and the rollout is stopped; one that goes offline before a session was handed it, or was not by the rollout's "
        "deadline, is DROPPED, with its old desired state",
    ),
    A.COMMITTED: ("the end of the rollout", "it stays so; where the rollout is stopped before, RESTORING"),
    A.FAILED: ("the end of the rollout", "it stays so; one that failed its candidate is RESTORING once the rollout rolls back"),
    A.RESTORING: ("restore_s, from the last batch of nodes that is RESTORING", "FAILED, with a remark; its desired state stands"),
}
"""Until when each state that is left may last, and what follows. The others are ends."""


class IllegalAssignmentMove(FleetError):
    """Something came to a node in a state in which it cannot come: a bug of the coordinator."""

    code = "illegal-move"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """Generations are of the node's DesiredModel; 0: that was not asked of it."""

    rollout_id: str
    node_id: str
    state: AssignmentState = AssignmentState.PLANNED
    manifest_digest: str  # of the candidate
    name: str  # of the candidate
    previous: str  # manifest that it served before; "": none
    order: int = 0  # its place in the plan; the canary has 0
    wave: int = 0  # the number of the wave that told it, from 1; 0: none did
    generation: int = 0
    restore_generation: int = 0
    at: float = 0.0  # when it came to its state; seconds since 1970-01-01 UTC
    told_at: float = 0.0
    why: str = ""  # it failed, was dropped or was refused
    chosen_for: Budget | None = None  # what the node might spend when this was chosen
    previous_for: Budget | None = None  # and what it might when `previous` was
    interface: tuple[str, ...] = ()  # what changes for clients of what the node served before, a clause each
    evidence: NodeEvidence | None = None  # what a node that failed had shown: its report of that ends when it goes back
    schema: int = 1

    @property
    def touched(self) -> bool:
        """Something was asked of the node."""
        return self.generation > 0

    @property
    def goes_back(self) -> bool:
        """It has the candidate, or may have it; so it goes back where the rollout is stopped."""
        return self.state in _GO_BACK and not self.restore_generation


@dataclass(frozen=True, slots=True, kw_only=True)
class Ineligible:
    """A node that does not get the release, by which rule, in an operator's words."""

    node_id: str
    rule: str
    reason: str


def refused_assignment(rollout_id: str, no: Ineligible) -> Assignment:
    return Assignment(
        rollout_id=rollout_id,
        node_id=no.node_id,
        state=AssignmentState.REFUSED,
        manifest_digest="",
        name="",
        previous="",
        why=no.reason,
    )


_GO_BACK = frozenset({A.TOLD, A.COMMITTED, A.FAILED})


def moved(a: Assignment, event: AssignmentEvent, now: float, **fields: Any) -> Assignment:
    """Raises IllegalAssignmentMove where the table has no such move."""
    if (a.state, event) not in MOVES:
        raise IllegalAssignmentMove(f"assignment {assignment_id(a.rollout_id, a.node_id)}: {event} in {a.state}")
    return replace(a, state=MOVES[a.state, event], at=now, **fields)


def assignment_id(rollout_id: str, node_id: str) -> str:
    return f"{rollout_id}/{node_id}"


def ids_of(assignment_id: str) -> tuple[str, str]:
    """The rollout's and the node's."""
    rollout_id, _, node_id = assignment_id.partition("/")
    return rollout_id, node_id


async def assignment_docs(ledger: Ledger, rollout_id: str, *, after: str = "", most: int | None = None) -> AsyncIterator[Doc]:
    """Of one rollout, by node id.

    Args:
        after: a node id; only those behind it.
        most: how many; None: all.
    """
    last, left = assignment_id(rollout_id, after), most
    while left is None or left > 0:
        page = await ledger.page(KIND, after=last, count=PAGE_NODES if left is None else min(left, PAGE_NODES))
        for doc in page:
            if ids_of(doc.id)[0] != rollout_id:
                return
            yield doc
        if not page:
            return
        last, left = page[-1].id, None if left is None else left - len(page)
