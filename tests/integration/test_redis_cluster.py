"""A Redis Cluster: the primary that has our slot is killed, and no change of intent that was answered is lost; the slot moves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from littoral.errors import BadInput, LostLease, Unavailable
from littoral_cloud.fleet.ledger import Audit, Change, Write
from littoral_cloud.store.connection import Endpoint, endpoint_from
from littoral_cloud.store.redis_ledger import RedisLedger
from littoral_cloud.store.searches import RedisSearch
from littoral_cloud.trust.audit_chain import verify
from tests.kit.patience import PATIENCE_S
from tests.kit.redis_cluster import ServersOfACluster, cluster_of_servers

clock = time.time  # noqa: TID251 - the shell of a test
FLEET = "littoral"


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[ServersOfACluster]:
    async with cluster_of_servers(tmp_path) as started:
        yield started


def change(id: str) -> Change:
    return Change((Write("thing", id, {"id": id}, 0),), (Audit("thing.made", id, "test"),))


async def test_a_failover_of_the_cluster_loses_no_answered_change(servers: ServersOfACluster) -> None:
    answered: list[str] = []
    half, killed = asyncio.Event(), asyncio.Event()
    async with (
        RedisLedger.open(servers.endpoint(1), clock, patience_s=PATIENCE_S) as ledger,
        RedisLedger.open(servers.endpoint(1), clock, patience_s=PATIENCE_S) as reader,
        reader.watch("thing") as announcements,
        asyncio.timeout(2 * PATIENCE_S),
    ):

        async def work(worker: int) -> None:
            for number in range(20):
                if number == 10:
                    await killed.wait()
                id = f"{worker}-{number}"
                assert await ledger.commit(change(id)) == {("thing", id): 1}
                answered.append(id)
                if len(answered) == 40:
                    half.set()

        before = await servers.owner(FLEET)
        search = await asyncio.to_thread(RedisSearch, servers.endpoint(1), "s", patience_s=PATIENCE_S)
        await asyncio.to_thread(search.append, ["a line"])
        tokens: list[int] = []

        async def hold() -> None:
            async with ledger.lease("rollouts", ttl_s=1.0) as first, asyncio.TaskGroup() as tasks:
                tokens.append(first.token)
                for worker in range(4):
                    tasks.create_task(work(worker))
                await half.wait()
                servers.kill(before)
                killed.set()
                await asyncio.Event().wait()

        with pytest.raises(LostLease):  # while the others vote no renewal comes through in time
            await hold()
        await servers.another_owner(FLEET, before)
        await servers.restart(before)  # until it is back, the new primary has no replica, and no change of intent succeeds
        async with asyncio.TaskGroup() as tasks:
            for worker in range(4, 6):
                tasks.create_task(work(worker))
        assert await servers.owner(FLEET) != before
        assert {doc.id for doc in await ledger.all("thing")} >= set(answered)
        assert {f"{worker}-{number}" for worker in (4, 5) for number in range(20)} <= set(answered)
        entries = await ledger.audit()
        assert sorted(entry.subject for entry in entries) == sorted(doc.id for doc in await reader.all("thing"))
        assert verify(entries) is None
        async with reader.lease("rollouts", ttl_s=10.0) as fence:
            assert fence.token > tokens[0]
            await ledger.commit(change("last"), fence=fence)
        heard: set[str] = set()
        while "last" not in heard:  # what was written before is announced before it, or everything is to be read again
            heard.add((await anext(announcements)).id)
        assert await asyncio.to_thread(search.read, 0) == ["a line"]
        search.close()


async def test_a_slot_that_moves_while_changes_are_written_takes_all_of_them_along(servers: ServersOfACluster) -> None:
    endpoint = servers.endpoint(0, servers.ports[3:5])
    async with RedisLedger.open(endpoint, clock, patience_s=PATIENCE_S) as ledger, asyncio.timeout(2 * PATIENCE_S):
        moved = asyncio.Event()
        written = 0

        async def write() -> None:
            nonlocal written
            while not moved.is_set() or written < 20:
                await ledger.commit(change(str(written)))
                written += 1

        writing = asyncio.create_task(write())
        before = await servers.owner(FLEET)
        await servers.move_slot(FLEET, next(port for port in servers.ports[:3] if port != before))
        moved.set()
        await writing
        assert len(await ledger.all("thing")) == written == len(await ledger.audit())
        assert await servers.owner(FLEET) != before
    with pytest.raises(BadInput, match="is a node of a cluster"):
        async with RedisLedger.open(Endpoint(url=f"redis://127.0.0.1:{servers.ports[0]}"), clock):
            pass
    for port in servers.ports:
        servers.kill(port)
    with pytest.raises(Unavailable, match="no server of the cluster says"):
        async with RedisLedger.open(endpoint, clock, patience_s=0.1):
            pass


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("redis+cluster://a,b/0", "no database"),
        ("redis+cluster://a:b", "no address"),
        ("redis+cluster://", "no address"),
    ],
)
def test_an_address_of_a_cluster_that_is_none_is_refused(url: str, part: str) -> None:
    with pytest.raises(BadInput, match=f"redis_url: .*{part}"):
        endpoint_from(url, None)
