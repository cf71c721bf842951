"""Raises the schema of the ledger and rewrites its documents while coordinators serve: rules 3 and 4 of fleet/schema.py."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from littoral.errors import Conflict, LostLease, Unavailable
from littoral_cloud.fleet.coordinators import KIND as COORDINATOR
from littoral_cloud.fleet.coordinators import knows
from littoral_cloud.fleet.edit import repeat_on_conflict
from littoral_cloud.fleet.identity import KIND
from littoral_cloud.fleet.ledger import Audit, Body, Change, Doc, Fence, Ledger, Write
from littoral_cloud.fleet.records import dump
from littoral_cloud.fleet.schema import ID, SCHEMA, read_schema, schema_in

log = logging.getLogger(__name__)

LEASE = "schema"
AT_ONCE = 200
"""Documents that are rewritten in one Change."""
_AGAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class Migration:
    """Args:
    to: the schema that it leads to.
    kind: of the documents.
    step: gives the body in the new form; None: it has it.
    """

    to: int
    kind: str
    step: Callable[[Body], Body | None]


MIGRATIONS: tuple[Migration, ...] = ()
"""Of this release, in order."""


class Migrations:
    """One coordinator's part in rules 3 and 4."""

    def __init__(self, ledger: Ledger, migrations: Sequence[Migration] = MIGRATIONS, known: int = SCHEMA) -> None:
        self._ledger = ledger
        self._migrations = migrations
        self._known = known

    async def run(self) -> None:
        """Until the ledger is of our schema, or cancelled."""
        while (await read_schema(self._ledger)).migrated < self._known:
            try:
                async with self._ledger.lease(LEASE) as fence:
                    before = await self._ledger.get(KIND, ID)
                    await self._all_know()
                    await self._raise("written", before, fence)
                    for migration in self._migrations:
                        await self._migrate(migration, fence)
                    await self._raise("migrated", await self._ledger.get(KIND, ID), fence)
            except (Conflict, LostLease, Unavailable) as error:
                log.warning("migration to schema %d: %s; it starts again", self._known, error)
                await asyncio.sleep(_AGAIN_S)

    async def _all_know(self) -> None:
        async with self._ledger.watch(COORDINATOR) as news:
            while True:
                docs = await self._ledger.all(COORDINATOR)
                behind = [doc.id for doc in docs if knows(doc.body) < self._known]
                if not behind:
                    return
                log.info("schema %d waits for %d coordinators of an earlier release", self._known, len(behind))
                await anext(news)

    async def _raise(self, field: str, doc: Doc | None, fence: Fence) -> None:
        """Raises Conflict where a coordinator came since `doc` was read."""
        before = dump(schema_in(doc))
        if before[field] < self._known:
            write = Write(KIND, ID, {**before, field: self._known}, doc.generation if doc else 0)
            line = Audit(f"schema.{field}", ID, "coordinator", {"was": before[field], "is": self._known})
            await self._ledger.commit(Change((write,), (line,)), fence=fence)

    async def _migrate(self, migration: Migration, fence: Fence) -> None:
        async for page in self._ledger.pages(migration.kind, AT_ONCE):
            ids = [doc.id for doc in page]
            for start in range(0, len(ids), AT_ONCE):  # a page has about as many as were asked for
                await repeat_on_conflict(partial(self._rewrite, migration, ids[start : start + AT_ONCE], fence))

    async def _rewrite(self, migration: Migration, ids: Sequence[str], fence: Fence) -> None:
        docs = await self._ledger.get_many([(migration.kind, id) for id in ids])
        writes = [
            Write(doc.kind, doc.id, body, doc.generation)
            for doc in docs
            if doc is not None and (body := migration.step(doc.body)) is not None
        ]
        if writes:
            await self._ledger.commit(Change(tuple(writes)), fence=fence)
