"""The shell of the controllers, over a real ledger."""

from __future__ import annotations

import asyncio
import random
from math import inf

from littoral.errors import LostLease
from littoral_cloud.fleet.controller import ControllerSpec, News, keep_advancing
from littoral_cloud.fleet.ledger import Change, Fence, Ledger, Write
from tests.kit.patience import PATIENCE_S

pytest_plugins = ("tests.kit.redis",)
NOW = 1_000.0
WATCH = ControllerSpec("test", "test", ("thing",), coalesce_s=0.2)


async def test_it_looks_at_everything_first_then_at_what_was_written_together(ledger: Ledger) -> None:
    calls: asyncio.Queue[News] = asyncio.Queue()

    async def advance(news: News, fence: Fence) -> float:
        await calls.put(news)
        return inf

    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as tasks:
        shell = tasks.create_task(keep_advancing(ledger, WATCH, advance, lambda: NOW, random.Random(1)))
        assert await calls.get() is None
        for id in ("a", "b", "a"):
            await ledger.commit(Change((Write("thing", id, {}, None), Write("other", id, {}, None))))
        heard = set(await calls.get() or ())
        while {each.id for each in heard} != {"a", "b"}:  # on a busy machine they come in two turns
            heard |= await calls.get() or set()
        assert {each.kind for each in heard} == {"thing"}
        shell.cancel()


async def test_it_looks_again_at_the_time_that_was_asked_for_and_with_a_new_fence_after_a_lost_lease(ledger: Ledger) -> None:
    calls: asyncio.Queue[tuple[News, int]] = asyncio.Queue()
    answers = iter((0.0, LostLease("lease test: somebody else holds it"), inf))
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    async def advance(news: News, fence: Fence) -> float:
        await calls.put((news, fence.token))
        if isinstance(answer := next(answers), LostLease):
            raise answer
        return answer

    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as tasks:
        shell = tasks.create_task(keep_advancing(ledger, WATCH, advance, lambda: NOW, random.Random(1), sleep))
        first, due, after = [await calls.get() for _ in range(3)]
        shell.cancel()
    assert [news for news, _ in (first, due, after)] == [None, frozenset(), None]
    assert first[1] == due[1] < after[1]
    assert len(pauses) == 1
