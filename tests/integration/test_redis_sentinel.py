"""A Redis with replicas and sentinels: the primary is killed, and no change of intent that was answered is lost."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from littoral.errors import BadInput, LostLease, Unavailable
from littoral_cloud.fleet.ledger import Audit, Change, Write
from littoral_cloud.store.connection import endpoint_from
from littoral_cloud.store.redis_ledger import RedisLedger
from littoral_cloud.trust.audit_chain import verify
from tests.kit.patience import PATIENCE_S
from tests.kit.sentinels import watched_servers

clock = time.time  # noqa: TID251 - the shell of a test


def change(id: str) -> Change:
    return Change((Write("thing", id, {"id": id}, 0),), (Audit("thing.made", id, "test"),))


async def test_a_failover_loses_no_answered_change_and_the_watcher_hears_of_all(tmp_path: Path) -> None:
    answered: list[str] = []
    half, killed = asyncio.Event(), asyncio.Event()
    async with (
        watched_servers(tmp_path) as servers,
        RedisLedger.open(servers.endpoint(1), clock, patience_s=PATIENCE_S) as ledger,
        RedisLedger.open(servers.endpoint(1), clock, patience_s=PATIENCE_S) as reader,
        reader.watch("thing") as announcements,
        asyncio.timeout(PATIENCE_S),
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

        before = await servers.primary()
        async with asyncio.TaskGroup() as tasks:
            for worker in range(4):
                tasks.create_task(work(worker))
            await half.wait()
            servers.kill(before)
            killed.set()
        assert await servers.primary() != before
        assert {doc.id for doc in await ledger.all("thing")} == set(answered)
        entries = await ledger.audit()
        assert sorted(entry.subject for entry in entries) == sorted(answered)
        assert verify(entries) is None
        await ledger.commit(change("last"))
        heard: set[str] = set()
        while "last" not in heard:  # what was written before is announced before it, or everything is to be read again
            heard.add((await anext(announcements)).id)


async def test_a_lease_has_one_holder_over_a_failover(tmp_path: Path) -> None:
    async with (
        watched_servers(tmp_path) as servers,
        RedisLedger.open(servers.endpoint(1), clock, patience_s=PATIENCE_S) as ledger,
        RedisLedger.open(servers.endpoint(1), clock, patience_s=PATIENCE_S) as other,
        asyncio.timeout(PATIENCE_S),
    ):
        tokens: list[int] = []

        async def hold() -> None:
            async with ledger.lease("rollouts", ttl_s=2.0) as fence:
                tokens.append(fence.token)
                servers.kill(await servers.primary())
                await asyncio.Event().wait()

        with pytest.raises(LostLease):  # while the sentinels vote no renewal comes through in time
            await hold()
        async with other.lease("rollouts", ttl_s=10.0) as fence:
            assert fence.token > tokens[0]
            await other.commit(change("new"), fence=fence)


async def test_a_change_of_intent_fails_where_too_few_replicas_have_it_and_a_report_does_not(tmp_path: Path) -> None:
    async with (
        watched_servers(tmp_path) as servers,
        RedisLedger.open(servers.endpoint(2), clock, patience_s=PATIENCE_S) as ledger,
        RedisLedger.open(servers.endpoint(2), clock, patience_s=1.5) as hurried,
    ):
        await ledger.commit(change("replicated"))
        servers.kill(servers.servers[1])
        with pytest.raises(Unavailable, match="1 of 2 replicas"):
            await hurried.commit(change("a"))
        assert await hurried.commit(Change((Write("thing", "b", {}, None),))) == {("thing", "b"): 1}


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("redis+sentinel://a,b", "names no service"),
        ("redis+sentinel://a,b/x/y", "names no service"),
        ("redis+sentinel://a:b/fleet", "no address"),
        ("redis+sentinel:///fleet", "no address"),
    ],
)
def test_an_address_that_is_none_is_refused(url: str, part: str) -> None:
    with pytest.raises(BadInput, match=f"redis_url: .*{part}"):
        endpoint_from(url, None)
