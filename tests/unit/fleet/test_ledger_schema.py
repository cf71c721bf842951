"""Releases N and N + 1 on one ledger: nothing new is written while N is there; a migration may be killed, and runs twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from littoral.errors import BadInput, Conflict
from littoral_cloud.fleet.coordinators import KIND as COORDINATOR
from littoral_cloud.fleet.coordinators import Coordinator
from littoral_cloud.fleet.ledger import Body, Change, Write
from littoral_cloud.fleet.migrations import AT_ONCE, Migration, Migrations
from littoral_cloud.fleet.records import dump
from littoral_cloud.fleet.schema import SCHEMA, read_schema, refuse_newer, unraised
from littoral_cloud.store.redis_ledger import RedisLedger
from tests.kit.patience import PATIENCE_S

pytest_plugins = ("tests.kit.redis",)
NEXT = SCHEMA + 1
THINGS = 2 * AT_ONCE + 50


def with_colour(body: Body) -> Body | None:
    return None if "colour" in body else {**body, "colour": "blue"}


COLOURED = (Migration(NEXT, "thing", with_colour),)


async def things_of_before(ledger: RedisLedger) -> None:
    for start in range(0, THINGS, AT_ONCE):
        numbers = range(start, min(start + AT_ONCE, THINGS))
        await ledger.commit(Change(tuple(Write("thing", str(number), {"number": number}, 0) for number in numbers)))


async def coordinator(ledger: RedisLedger, id: str, knows: int) -> None:
    body = dump(Coordinator(started_at=1.0, knows=knows))
    if knows == 1:
        del body["knows"]  # of a release from before the field
    await ledger.commit(Change((Write(COORDINATOR, id, body, 0),)))


async def test_nothing_new_is_written_while_an_older_release_is_there(ledger: RedisLedger) -> None:
    await things_of_before(ledger)
    await coordinator(ledger, "old", 1)
    await coordinator(ledger, "new", NEXT)
    async with asyncio.timeout(PATIENCE_S), ledger.watch("lease") as leases:
        migrating = asyncio.create_task(Migrations(ledger, COLOURED, NEXT).run())
        await coordinator(ledger, "another", NEXT)
        assert (await read_schema(ledger)).written == SCHEMA
        assert not any("colour" in doc.body for doc in await ledger.all("thing"))
        await refuse_newer(ledger)
        await ledger.commit(Change((Write(COORDINATOR, "old", None, None),)))
        await migrating
        await anext(leases)
    assert all(doc.body["colour"] == "blue" for doc in await ledger.all("thing"))
    found = await read_schema(ledger)
    assert (found.written, found.migrated) == (NEXT, NEXT)
    assert [entry.action for entry in await ledger.audit()] == ["schema.written", "schema.migrated"]
    with pytest.raises(BadInput, match=f"schema {NEXT}, this release knows {SCHEMA}"):
        await refuse_newer(ledger)


async def test_a_migration_that_was_killed_is_done_once_all_the_same(
    ledger: RedisLedger, another: Callable[[], AbstractAsyncContextManager[RedisLedger]]
) -> None:
    await things_of_before(ledger)
    steps = 0

    def dying(body: Body) -> Body | None:
        nonlocal steps
        steps += 1
        if steps > AT_ONCE + 10:
            raise asyncio.CancelledError
        return with_colour(body)

    with pytest.raises(asyncio.CancelledError):
        await Migrations(ledger, (Migration(NEXT, "thing", dying),), NEXT).run()
    done = sum("colour" in doc.body for doc in await ledger.all("thing"))
    assert 0 < done < THINGS
    found = await read_schema(ledger)
    assert (found.written, found.migrated) == (NEXT, SCHEMA)
    async with another() as other, asyncio.timeout(PATIENCE_S):  # two at one time
        await asyncio.gather(*(Migrations(each, COLOURED, NEXT).run() for each in (ledger, other)))
        docs = await other.all("thing")
    assert len(docs) == THINGS
    assert {(doc.body["colour"], doc.generation) for doc in docs} == {("blue", 2)}, "each was rewritten once"
    assert [entry.action for entry in await ledger.audit()] == ["schema.written", "schema.migrated"]


async def test_a_coordinator_that_comes_while_the_number_is_raised_is_seen_or_does_not_start(ledger: RedisLedger) -> None:
    me = Write(COORDINATOR, "late", dump(Coordinator(started_at=1.0)), None)
    guard = await unraised(ledger, SCHEMA)
    await Migrations(ledger, COLOURED, NEXT).run()
    with pytest.raises(Conflict):
        await ledger.commit(Change((me, guard)))
    with pytest.raises(BadInput, match="this release knows"):
        await unraised(ledger, SCHEMA)
    assert await ledger.get(COORDINATOR, "late") is None
