"""Gives each rollout of before (littoral_cloud/rollouts/older.py) the documents of today, when the controller takes its lease.

The assignments are written first, a batch at a time, each as if for the first time; the rollout itself last. So a coordinator
that is killed in between is followed by one that does the same again, and a second run finds nothing to do.
"""

from __future__ import annotations

import logging

from littoral.errors import FleetError
from littoral_cloud.fleet.ledger import Change, Doc, Fence, Ledger, Write
from littoral_cloud.fleet.records import dump
from littoral_cloud.fleet.view import FleetView
from littoral_cloud.rollouts.assignments import BATCH_NODES, assignment_id
from littoral_cloud.rollouts.assignments import KIND as ASSIGNMENT
from littoral_cloud.rollouts.older import is_older, numbers_of, older_assignments
from littoral_cloud.rollouts.state import KIND

log = logging.getLogger(__name__)


async def convert_older(ledger: Ledger, view: FleetView, fence: Fence | None) -> int:
    """Gives how many were converted. Raises LostLease, Conflict, Unavailable."""
    older = [doc for doc in await ledger.all(KIND) if is_older(doc.body)]
    for doc in older:
        try:
            changes = converted(doc)
        except FleetError as error:
            log.error("rollout %s: cannot be converted: %s", doc.id, error)
            continue
        for change in changes:
            view.wrote(change, await ledger.commit(change, fence=fence))
        log.info("rollout %s: has documents of its own for %d nodes now", doc.id, len(doc.body.get("assignments", ())))
    return len(older)


def converted(doc: Doc) -> list[Change]:
    """In their order. Pure. Raises FleetError where the document cannot be read."""
    given = [Write(ASSIGNMENT, assignment_id(doc.id, a.node_id), dump(a), None) for a in older_assignments(doc.id, doc.body)]
    batches = [Change(tuple(given[start : start + BATCH_NODES])) for start in range(0, len(given), BATCH_NODES)]
    return [*batches, Change((Write(KIND, doc.id, numbers_of(doc.body), doc.generation),))]
