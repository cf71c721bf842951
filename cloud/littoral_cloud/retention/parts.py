"""The parts of a daily pass: each decides from the view of the fleet, and commits batches with the generations that it saw."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from littoral.errors import Conflict, LostLease
from littoral_cloud.app import Core, audit_archive
from littoral_cloud.federation.run import KIND as RUN
from littoral_cloud.fleet import drift
from littoral_cloud.fleet.ledger import Audit, Change, Doc, Fence, Ledger, Write
from littoral_cloud.fleet.loop_memory import KIND as LOOP
from littoral_cloud.fleet.loop_memory import Memory
from littoral_cloud.fleet.nodes import OF_A_NODE
from littoral_cloud.fleet.records import load
from littoral_cloud.fleet.telemetry import KIND as TELEMETRY
from littoral_cloud.fleet.view import FleetView
from littoral_cloud.retention import archive
from littoral_cloud.retention.controller import ACTOR, DAY_S, OwnPart, Part
from littoral_cloud.retention.ended import EndedView, rollouts_to_archive, runs_to_archive
from littoral_cloud.retention.leftovers import NodesView, of_models_that_are_gone, of_nodes_that_are_out, old_measurements
from littoral_cloud.rollouts.assignments import BATCH_NODES, assignment_docs
from littoral_cloud.rollouts.assignments import KIND as ASSIGNMENT
from littoral_cloud.rollouts.numbers import numbers_with
from littoral_cloud.rollouts.state import KIND as ROLLOUT

log = logging.getLogger(__name__)

ARCHIVED_AT_ONCE = 50
DELETED_AT_ONCE = 200
MOST_ARCHIVED = 2_000
"""Of each kind in one pass."""
MOST_DELETED = 100_000
COPIES_DAYS = 7
"""A copy of a blob of an object store that was not read for so long is removed: it can be had again."""
LARGE_DOCUMENTS = 100
"""Of telemetry and inputs, that are parsed at one time; then others have a turn."""
_ENDS = {
    "web-session": ("expires_at", 0.0),
    "sign-in-link": ("expires_at", 0.0),
    "provider-sign-in": ("expires_at", 0.0),
    "idempotency": ("at", DAY_S),
    "operator-token": ("expires_at", 90 * DAY_S),
}
"""The field of a time, and how long after it a document stays; seconds."""
_TIMED = {TELEMETRY: "last_report_at", drift.KIND: "updated_at"}


@dataclass(frozen=True, slots=True)
class RetentionParts:
    """Args:
    view: follows what controllers decide from, and runs.
    folder: of archived documents.
    keep: the number of ended rollouts and runs of a model that stay.
    """

    ledger: Ledger
    view: FleetView
    folder: Path
    clock: Callable[[], float]
    keep: int

    async def rollouts(self, fence: Fence) -> str:
        gone = rollouts_to_archive(await self._ended(), self.keep)[:MOST_ARCHIVED]
        return await self._archive(ROLLOUT, gone, fence)

    async def runs(self, fence: Fence) -> str:
        gone = runs_to_archive(await self._ended(), self.keep)[:MOST_ARCHIVED]
        return await self._archive(RUN, gone, fence)

    async def measurements(self, fence: Fence) -> str:
        seen, held = await self._nodes(), self.view.of("measurement")
        old = old_measurements(self._records("measurement"), seen, self.clock())
        return await self._delete([_deletion("measurement", id, held[id].generation) for id in old], fence)

    async def leftovers(self, fence: Fence) -> str:
        """What is left of nodes that are out, and of models that a node has no more."""
        seen, going = await self._nodes(), []
        for kind in OF_A_NODE if any(map(seen.is_out, seen.nodes)) else ():
            async for page in self.ledger.pages(kind):
                generations = {doc.id: doc.generation for doc in page}
                going += [_deletion(kind, id, generations[id]) for id in of_nodes_that_are_out(generations.keys(), seen)]
        for kind, last_at in _TIMED.items():
            async for page in self.ledger.pages(kind, LARGE_DOCUMENTS):
                gone = of_models_that_are_gone(page, last_at, seen, self.clock())
                going += [_deletion(kind, doc.id, doc.generation) for doc in gone]
        return await self._delete(list(dict.fromkeys(going)), fence)

    async def expired(self, fence: Fence) -> str:
        """What operators left that opens or answers nothing any more: sessions, links, half sign-ins, answers for a repeat,
        and tokens a while after their end."""
        going, now = [], self.clock()
        for kind, (field, stays_s) in _ENDS.items():
            async for page in self.ledger.pages(kind):
                gone = (doc for doc in page if now - float(doc.body.get(field, now)) >= stays_s)
                going += [_deletion(kind, doc.id, doc.generation) for doc in gone]
        return await self._delete(going, fence)

    async def _ended(self) -> EndedView:
        await self.view.catch_up()
        memories = [load(Memory, doc) for doc in await self.ledger.all(LOOP)]
        return EndedView(
            self._records(ROLLOUT),
            self._records(RUN),
            self._records("release"),
            self._records("desired"),
            frozenset(id for memory in memories for id in memory.settled),
            frozenset(artifact.weights for artifact in self._records("artifact").values()),
        )

    async def _nodes(self) -> NodesView:
        await self.view.catch_up()
        return NodesView(*(self._records(kind) for kind in ("node", "desired", "reported", "release")))

    def _records(self, kind: str) -> Mapping[str, Any]:
        return {id: held.record for id, held in self.view.of(kind).items()}

    async def _archive(self, kind: str, ids: Sequence[str], fence: Fence) -> str:
        """Written first and then deleted, a batch at a time; each batch in one audited change."""
        place = archive.place_of(self.folder, kind, self.clock())
        for start in range(0, len(ids), ARCHIVED_AT_ONCE):
            found = await self.ledger.get_many([(kind, id) for id in ids[start : start + ARCHIVED_AT_ONCE]])
            docs = [doc for doc in found if doc is not None]
            if kind == ROLLOUT:
                await self._archive_assignments([doc.id for doc in docs], fence)
            await asyncio.to_thread(archive.add, place, docs, self.clock())
            writes = [Write(kind, doc.id, None, doc.generation) for doc in docs]
            if kind == ROLLOUT:
                writes += await numbers_with(self.ledger, _by_release(docs))
            details = {"ids": [doc.id for doc in docs], "folder": str(place.parent.absolute())}
            await self.ledger.commit(Change(tuple(writes), (Audit(f"{kind}.archived", place.name, ACTOR, details),)), fence=fence)
            log.info("retention: %d of %d ended %ss are in %s", start + len(docs), len(ids), kind, place)
        return f"archived {len(ids)} in {place}" if ids else ""

    async def _archive_assignments(self, rollout_ids: Sequence[str], fence: Fence) -> None:
        """Before their rollouts: what is left after a crash goes with them the next time."""
        place = archive.place_of(self.folder, ASSIGNMENT, self.clock())
        for rollout_id in rollout_ids:
            docs = [doc async for doc in assignment_docs(self.ledger, rollout_id)]
            for start in range(0, len(docs), BATCH_NODES):
                some = docs[start : start + BATCH_NODES]
                await asyncio.to_thread(archive.add, place, some, self.clock())
                gone = tuple(Write(ASSIGNMENT, doc.id, None, doc.generation) for doc in some)
                await self.ledger.commit(Change(gone), fence=fence)

    async def _delete(self, going: Sequence[Write], fence: Fence) -> str:
        """One that was written meanwhile stays."""
        deleted = 0
        for start in range(0, min(len(going), MOST_DELETED), DELETED_AT_ONCE):
            deleted += await _deleted(self.ledger, going[start : start + DELETED_AT_ONCE], fence)
        left = len(going) - MOST_DELETED
        return f"deleted {deleted:,}" + (f", {left:,} are left" if left > 0 else "") if going else ""


def parts_of(core: Core, view: FleetView) -> dict[str, Part]:
    """By name, in their order."""

    async def audit(fence: Fence) -> str:
        made = await audit_archive(core).archive(core.clock() - core.settings.audit_days * DAY_S, fence, actor=ACTOR)
        return f"archived {sum(each.lines for each in made):,} lines in {len(made)} files" if made else ""

    settings = core.settings
    retained = RetentionParts(core.ledger, view, settings.data_dir / archive.FOLDER, core.clock, settings.ended_kept)
    parts: dict[str, Part] = {
        "rollouts": retained.rollouts,
        "runs": retained.runs,
        "measurements": retained.measurements,
        "nodes": retained.leftovers,
        "expired": retained.expired,
    }
    return {"audit": audit, **parts} if settings.audit_days else parts


def own_parts_of(core: Core) -> dict[str, OwnPart]:
    """By name; of this coordinator's machine."""

    async def copies() -> str:
        gone = await asyncio.to_thread(core.blobs.trim, core.clock() - COPIES_DAYS * DAY_S)
        return f"removed {gone:,} copies of blobs that were not read for {COPIES_DAYS} days" if gone else ""

    return {"copies": copies}


def _deletion(kind: str, id: str, generation: int) -> Write:
    """Announced where a view, or the closed loop, holds the document."""
    return Write(kind, id, None, generation, quiet=kind == TELEMETRY)


async def _deleted(ledger: Ledger, writes: Sequence[Write], fence: Fence) -> int:
    try:
        await ledger.commit(Change(tuple(writes)), fence=fence)
        return len(writes)
    except LostLease:
        raise
    except Conflict:
        if len(writes) == 1:
            return 0
        half = len(writes) // 2
        return await _deleted(ledger, writes[:half], fence) + await _deleted(ledger, writes[half:], fence)


def _by_release(docs: Iterable[Doc]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for doc in docs:
        found.setdefault(doc.body["release_id"], []).append(doc.id)
    return found
