"""Two coordinators on one ledger: each says of its own sessions whether they are open, and of the other's when that has ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from littoral.fleet.v1 import session_pb2
from littoral_cloud.api.hub import SessionHub
from littoral_cloud.fleet.coordinators import KIND, lease_of
from littoral_cloud.fleet.ledger import Change, Ledger, Write
from littoral_cloud.fleet.records import Presence, dump, load
from tests.kit.fleet import Fleet, MovedClock, open_fleet
from tests.kit.node_client import Line
from tests.kit.patience import PATIENCE_S

pytest_plugins = ("tests.kit.redis",)


@asynccontextmanager
async def another(ledger: Ledger, *, former: str = "") -> AsyncIterator[SessionHub]:
    """A coordinator without nodes, that is there for the others to see; ended without a word."""
    hub = SessionHub(ledger, MovedClock(), former=former)
    running = asyncio.create_task(hub.run())
    try:
        yield hub
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def known(ledger: Ledger, *coordinators: str) -> None:
    """Waits until these have said that they are there, and no others."""
    async with asyncio.timeout(PATIENCE_S), ledger.watch(KIND) as news:
        while {doc.id for doc in await ledger.all(KIND)} != set(coordinators):
            await anext(news)


async def still_there(line: Line) -> None:
    await line.say(heartbeat=session_pb2.Heartbeat(sequence=1))
    await line.hear("heartbeat")


async def written(fleet: Fleet, node_id: str) -> Presence:
    doc = await fleet.ledger.get("presence", node_id)
    assert doc is not None
    return load(Presence, doc)


async def test_a_second_coordinator_says_nothing_of_the_sessions_of_the_first(ledger: Ledger, tmp_path: Path) -> None:
    async with open_fleet(ledger, tmp_path) as fleet, fleet.client(await fleet.enrol("n1")) as client:
        line = await client.begin()
        await known(ledger, fleet.hub.coordinator)
        before = await fleet.until("presence", "n1", connected=True, coordinator=fleet.hub.coordinator)
        async with another(ledger) as second:
            await known(ledger, fleet.hub.coordinator, second.coordinator)
            await second.drain(5.0)
        await known(ledger, fleet.hub.coordinator)
        await still_there(line)
        assert await ledger.get("presence", "n1") == before


async def test_the_session_that_a_node_left_does_not_count_against_the_one_that_it_has(ledger: Ledger, tmp_path: Path) -> None:
    async with open_fleet(ledger, tmp_path / "1") as first, open_fleet(ledger, tmp_path / "2") as second:
        old = await first.enrol("n1")
        async with first.client(old) as left:
            await left.begin()
            before = await written(first, "n1")
            new = replace(before, coordinator=second.hub.coordinator, session="s2", since=before.since + 1)
            await ledger.commit(Change((Write("presence", "n1", dump(new), None),)))
            assert before.coordinator == first.hub.coordinator
        await first.hub.drain(5.0)
        assert await written(first, "n1") == new


async def test_the_nodes_of_a_coordinator_that_ended_without_a_word_are_away(ledger: Ledger, tmp_path: Path) -> None:
    async with open_fleet(ledger, tmp_path) as fleet, fleet.client(await fleet.enrol("n1")) as client:
        await client.begin()
        mine = load(Presence, await fleet.until("presence", "n1", connected=True))
        async with another(ledger) as dead:
            await known(ledger, fleet.hub.coordinator, dead.coordinator)
            theirs = replace(mine, coordinator=dead.coordinator, session="s3", since=1.0)
            await ledger.commit(Change((Write("presence", "n2", dump(theirs), None),)))
        gone = load(Presence, await fleet.until("presence", "n2", connected=False))
        assert gone == replace(theirs, connected=False, since=gone.since)
        assert gone.since > 1.0
        await known(ledger, fleet.hub.coordinator)
        assert await written(fleet, "n1") == mine


async def test_whoever_follows_on_a_data_folder_waits_for_no_lease(ledger: Ledger, tmp_path: Path) -> None:
    async with open_fleet(ledger, tmp_path) as fleet, fleet.client(await fleet.enrol("n1")) as client:
        await client.begin()
        await known(ledger, fleet.hub.coordinator)
        mine = await written(fleet, "n1")
        async with ledger.lease(lease_of("killed")):  # not lapsed yet
            for node_id, coordinator in (("n2", "killed"), ("n3", ""), ("n4", "never-heard-of")):
                body = dump(replace(mine, coordinator=coordinator, session=""))
                await ledger.commit(Change((Write("presence", node_id, body, 0),)))
            async with another(ledger, former="killed"):
                for node_id in ("n2", "n3", "n4"):
                    await fleet.until("presence", node_id, connected=False)
        assert (await written(fleet, "n1")) == mine


async def test_one_that_was_taken_for_dead_says_anew_whose_sessions_are_open(ledger: Ledger, tmp_path: Path) -> None:
    async with open_fleet(ledger, tmp_path) as fleet, fleet.client(await fleet.enrol("n1")) as client:
        line = await client.begin()
        mine = load(Presence, await fleet.until("presence", "n1", connected=True))
        await ledger.commit(Change((Write("presence", "n1", dump(replace(mine, connected=False)), None),)))
        back = load(Presence, await fleet.until("presence", "n1", connected=True))
        assert (back.coordinator, back.session) == (mine.coordinator, mine.session)
        await still_there(line)
