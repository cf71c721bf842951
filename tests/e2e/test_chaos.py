"""Some of the faults of `make chaos`, of the kinds that are quick, and the proxy that makes some of them."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from bench.chaos.begun import lost
from bench.chaos.checks import Trail
from bench.chaos.faults import FAULTS, drawn, kinds_for
from bench.chaos.loop import part
from bench.chaos.proxy import proxied
from littoral_cloud.fleet.ledger import Audit, Change, Ledger
from tests.kit.ports import lasting_port

pytest_plugins = ("tests.kit.redis",)

QUICK = ("node", "coordinator", "redis", "redis-cut", "redis-slow", "node-cut", "clock", "repeated")
PACE = 0.15


async def test_no_fault_loses_anything(tmp_path: Path) -> None:
    """Two fleets at one time, so that the one works while the other waits. The training worker is killed in one of them alone:
    each of its starts imports torch."""
    plays = (range(1, 16), (*QUICK, "worker")), (range(16, 31), QUICK)
    folders = [tmp_path / f"fleet-{number}" for number in range(len(plays))]
    for folder in folders:
        folder.mkdir()
    outcomes = await asyncio.gather(
        *(
            part(folder, seed=1, numbers=numbers, nodes=1, coordinators=1, kinds=kinds, pace=PACE)
            for folder, (numbers, kinds) in zip(folders, plays, strict=True)
        )
    )
    assert [words for each in outcomes for words in each.lost] == []
    assert sum(each.survived for each in outcomes) == 30
    for outcome, (_, kinds) in zip(outcomes, plays, strict=True):
        assert set(outcome.kinds) == set(kinds)


def test_each_kind_comes_in_its_turn_and_a_number_draws_the_same_again() -> None:
    kinds = kinds_for(sentinels=False, disks=True)
    assert set(kinds) == set(FAULTS) - {"failover"}
    for first in (1, len(kinds) + 1):
        assert {drawn(1, first + number, kinds)[0] for number in range(len(kinds))} == set(kinds)
    (kind, rng), (again, same) = drawn(1, 42, kinds), drawn(1, 42, kinds)
    assert (kind, rng.random()) == (again, same.random())
    assert [drawn(1, n, kinds)[0] for n in range(1, 40)] != [drawn(2, n, kinds)[0] for n in range(1, 40)]


async def test_a_connection_is_cut_in_the_middle_of_what_goes_through_it() -> None:
    sent = bytes(range(256)) * 40

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(100):
            writer.write(piece)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    target = server.sockets[0].getsockname()[:2]
    async with proxied("127.0.0.1", port := lasting_port(), [("127.0.0.1", lasting_port()), target]) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"ping")
        assert await reader.readexactly(4) == b"ping"  # past the server that is not there
        cutting = asyncio.create_task(proxy.cut(random.Random(1), within_s=60.0))
        writer.write(sent)
        await asyncio.wait([cutting])
        assert cutting.result() == 1
        try:
            came = await reader.read()
        except ConnectionResetError:
            came = b""
        assert len(came) < len(sent)
        writer.close()
    server.close()


async def test_what_is_done_twice_is_seen_once_also_in_a_later_look(ledger: Ledger) -> None:
    async def write(action: str, subject: str, **details: object) -> None:
        await ledger.commit(Change((), (Audit(action, subject, "operator", details),)))

    trail = Trail()
    await write("rollout.started", "digits-1-r1")
    await write("update.succeeded", "n1", model="digits", generation=1)
    await write("update.succeeded", "n1", model="digits", generation=2)
    assert await trail.read_on(ledger) == []
    await write("rollout.started", "digits-1-r1")
    await write("update.succeeded", "n1", model="digits", generation=2)
    assert await trail.read_on(ledger) == [
        "done twice: rollout.started digits-1-r1",
        "done twice: update.succeeded n1 model=digits generation=2",
    ]
    assert await trail.read_on(ledger) == []
    assert trail.lines == 5


def test_what_counts_as_lost() -> None:
    ended = {"a": "SUCCEEDED", "b": "FAILED no node came within 5 s: cam is offline", "c": "ROLLED_BACK cam: accuracy-drop"}
    assert lost(["a", "c"], ended) == []
    assert lost(["a", "b", "d"], ended) == ["d: never ended", "b: FAILED no node came within 5 s: cam is offline"]
    assert lost(["r"], {"r": "FAILED too-few-nodes nodes: 0 can take part, 1 are needed"}) != []
    assert lost(["r"], {"r": "ROLLED_BACK cam: no answer, after 301 s"}) != []
    assert lost(["r"], {"r": "ROLLED_BACK"}) != []
