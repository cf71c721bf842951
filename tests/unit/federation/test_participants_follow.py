"""What a worker reads of the fleet while it waits: what changed, however many nodes there are."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from littoral_cloud.federation.exchange import REPLY, Exchange
from littoral_cloud.federation.participants import GRACE_S, TooFewNodes, following
from littoral_cloud.fleet.ledger import Announcement, Doc
from littoral_cloud.fleet.records import AWAY_S
from littoral_cloud.fleet.sessions import FederatedAnswer, note_answer
from littoral_cloud.simulate.memory_ledger import MemoryLedger
from littoral_cloud.simulate.virtual_loop import run_virtually
from littoral_cloud.store.blobs import BlobFolder
from tests.kit.federation import enrol
from tests.kit.patience import PATIENCE_S


async def turns(of: int = 20) -> None:
    for _ in range(of):
        await asyncio.sleep(0)


async def reads_of_one_presence(nodes: int) -> int:
    ledger = MemoryLedger(lambda: 0.0)
    for n in range(nodes):
        await enrol(ledger, f"n{n:04}", connected=n % 2 == 0)
    async with following(ledger) as participants:
        waiting = asyncio.create_task(
            participants.gather_nodes("digits", (), at_least=nodes // 2 + 2, hoped=(), within_s=PATIENCE_S)
        )
        await turns()
        before = ledger.documents_read
        await enrol(ledger, "n0001")  # a node and its presence
        await turns()
        read = ledger.documents_read - before
        assert not waiting.done()
        await enrol(ledger, "n0003")
        async with asyncio.timeout(PATIENCE_S):
            assert len(await waiting) == nodes // 2 + 2
        return read


async def test_a_node_that_comes_costs_the_same_reads_among_100_and_among_1000() -> None:
    assert [await reads_of_one_presence(nodes) for nodes in (100, 1_000)] == [2, 2]


async def reads_of_one_reply(nodes: int, blobs: BlobFolder) -> int:
    ledger = MemoryLedger(lambda: 0.0)
    messages = {f"n{n:04}": b"to all" for n in range(nodes)}
    asking = asyncio.create_task(
        Exchange(ledger, blobs, "r", None).ask(messages, number=1, kind="train", quorum=1, within_s=PATIENCE_S)
    )
    async with asyncio.timeout(PATIENCE_S), ledger.watch("desired") as news:
        told = set[str]()
        while len(told) < nodes:
            told.add((await anext(news)).id)
    await turns()
    before = ledger.documents_read
    answer = FederatedAnswer("r", "r.1.train.n0001", "", "oom", "as the test wants")
    async with asyncio.timeout(PATIENCE_S), ledger.watch("audit") as news:
        await note_answer(ledger, "n0001", answer)
        await anext(news)
    await turns()
    read = ledger.documents_read - before
    assert await ledger.get(REPLY, "r.1.train.n0001") is not None
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    return read


async def test_a_reply_costs_the_same_reads_among_100_and_among_1000(tmp_path: Path) -> None:
    few, many = [await reads_of_one_reply(nodes, BlobFolder(tmp_path / str(nodes))) for nodes in (100, 1_000)]
    assert few == many <= 5


def test_a_node_that_no_longer_can_is_not_gathered_and_a_hope_ends_with_the_grace() -> None:
    async def gathered() -> tuple[tuple[str, ...], float]:
        ledger, loop = MemoryLedger(lambda: 0.0), asyncio.get_running_loop()
        await enrol(ledger, "a")
        await enrol(ledger, "b")
        async with following(ledger) as participants:
            start = loop.time()
            waiting = asyncio.create_task(participants.gather_nodes("m", (), at_least=1, hoped=("a", "b", "c"), within_s=60.0))
            await turns()
            await enrol(ledger, "a", examples=0)
            return await waiting, loop.time() - start

    who, seconds = run_virtually(gathered(), 0.0)
    assert who == ("b",)
    assert seconds == pytest.approx(GRACE_S)


@pytest.mark.parametrize(("within_s", "gives_up_at"), [(1.0, AWAY_S), (2 * AWAY_S, 2 * AWAY_S)])
def test_a_run_gives_up_at_its_time_or_when_the_last_node_has_been_away_for_too_long(within_s: float, gives_up_at: float) -> None:
    async def given_up() -> float:
        loop = asyncio.get_running_loop()
        ledger = MemoryLedger(loop.time)
        await enrol(ledger, "a", connected=False)  # it went at 0
        async with following(ledger, loop.time) as participants:
            with pytest.raises(TooFewNodes):
                await participants.gather_nodes("m", (), at_least=1, hoped=(), within_s=within_s)
        return loop.time()

    assert run_virtually(given_up(), 0.0) == pytest.approx(gives_up_at)


def test_a_reply_whose_announcement_is_late_still_counts_at_the_rounds_end(tmp_path: Path) -> None:
    class Silent(MemoryLedger):
        def _announce(self, announcement: Announcement) -> None:
            if announcement.kind != REPLY:
                super()._announce(announcement)

    async def outcome() -> str:
        ledger = Silent(lambda: 0.0)
        exchange = Exchange(ledger, BlobFolder(tmp_path), "r", None)
        asking = asyncio.create_task(exchange.ask({"a": b"to a"}, number=1, kind="train", quorum=0, within_s=30.0))
        async with ledger.watch("desired") as news:
            await anext(news)
        await note_answer(ledger, "a", FederatedAnswer("r", "r.1.train.a", "", "oom", ""))
        return (await asking)[0].failure

    assert run_virtually(outcome(), 0.0) == "oom"


async def test_what_fails_while_it_follows_comes_out_as_it_is_and_ends_the_wait() -> None:
    class Broken(MemoryLedger):
        async def get_many(self, wanted: Sequence[tuple[str, str]]) -> Sequence[Doc | None]:
            raise OverflowError("as the test wants")

    async def gathered() -> None:
        ledger = Broken(lambda: 0.0)
        async with asyncio.timeout(PATIENCE_S), following(ledger) as participants:
            waiting = participants.gather_nodes("m", (), at_least=1, hoped=(), within_s=2 * PATIENCE_S)
            await asyncio.gather(waiting, enrol(ledger, "a"))

    async def failing() -> None:
        async with following(MemoryLedger(lambda: 0.0)):
            raise ZeroDivisionError

    with pytest.raises(OverflowError):
        await gathered()
    with pytest.raises(ZeroDivisionError):
        await failing()
