"""Readings that come at one time are one script, and each gets its own documents."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import redis
from littoral.errors import Unavailable
from littoral_cloud.fleet.ledger import Change, Write
from littoral_cloud.store.connection import Endpoint
from littoral_cloud.store.reads import AT_ONCE, MOST_DOCUMENTS
from littoral_cloud.store.redis_ledger import RedisLedger

pytest_plugins = ("tests.kit.redis",)


def scripts(socket: Path) -> int:
    """That this Redis has run."""
    with redis.Redis(unix_socket_path=str(socket)) as client:
        stats = client.info("commandstats")
        return sum(int(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"]) for name in ("evalsha", "eval"))


async def written(ledger: RedisLedger, count: int) -> None:
    await ledger.commit(Change(tuple(Write("reported", f"n{n}", {"n": n}, 0, quiet=True) for n in range(count))))


async def test_a_thousand_readings_at_one_time_are_few_scripts(ledger: RedisLedger, redis_socket: Path) -> None:
    await written(ledger, 400)
    await ledger.get("reported", "n0")  # the script is known there
    before, read = scripts(redis_socket), ledger.documents_read
    asked = [ledger.get_many([("reported", f"n{n}"), ("reported", f"none{n}"), ("reported", f"n{n // 2}")]) for n in range(400)]
    found = await asyncio.gather(*asked)
    for n, (own, none, half) in enumerate(found):
        assert own is not None
        assert none is None
        assert half is not None
        assert (own.body["n"], own.generation, half.body["n"]) == (n, 1, n // 2)
    assert scripts(redis_socket) - before <= 1_200 // MOST_DOCUMENTS + AT_ONCE
    assert ledger.documents_read - read == 1_200


async def test_who_stops_waiting_takes_no_answer_from_the_others(ledger: RedisLedger) -> None:
    await written(ledger, 3)
    waiting = [asyncio.create_task(ledger.get("reported", f"n{n}")) for n in range(3)]
    await asyncio.sleep(0)
    waiting[1].cancel()
    first, gone, last = await asyncio.gather(*waiting, return_exceptions=True)
    assert [doc and doc.body["n"] for doc in (first, last) if not isinstance(doc, BaseException)] == [0, 2]
    assert isinstance(gone, asyncio.CancelledError)


async def test_a_reading_holds_what_was_committed_before_it(ledger: RedisLedger) -> None:
    """Also while other readings are under way."""
    others = [asyncio.create_task(ledger.get("reported", "other")) for _ in range(50)]
    for n in range(50):
        await ledger.commit(Change((Write("reported", "n", {"n": n}, None),)))
        doc = await ledger.get("reported", "n")
        assert doc is not None
        assert doc.body["n"] == n
    assert set(await asyncio.gather(*others)) == {None}


async def test_a_ledger_that_is_closed_answers_who_still_waits(redis_endpoint: Endpoint, fleet_name: str) -> None:
    async with RedisLedger.open(redis_endpoint, time.time, fleet=fleet_name, patience_s=5.0) as ledger:  # noqa: TID251
        waiting = [asyncio.create_task(ledger.get("reported", f"n{n}")) for n in range(5)]
        await asyncio.sleep(0)
    for each in await asyncio.gather(*waiting, return_exceptions=True):
        assert each is None or isinstance(each, Unavailable)
