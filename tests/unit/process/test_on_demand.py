"""A worker that does not start is not started again with every call."""

from __future__ import annotations

import asyncio
import os

import pytest

from littoral.errors import RuntimeFailure
from littoral.process import worker
from littoral.process.aio import AsyncWorker
from littoral.process.on_demand import OnDemand
from littoral.process.worker import ChildDied, WorkerSpec
from tests.kit.workers import bad_child, children_of


async def test_after_a_failed_start_calls_fail_at_once_until_the_pause_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "command_of", bad_child("ends"))
    starts = 0

    async def start() -> AsyncWorker:
        nonlocal starts
        starts += 1
        return await AsyncWorker.start(WorkerSpec("", {}, "it"), 60.0)

    for pause_s, wanted in ((1_000.0, 1), (0.0, 4)):
        starts = 0
        on_demand = OnDemand(start, pause_s=pause_s)
        for _ in range(4):
            with pytest.raises(ChildDied, match="there is no such port"):
                await on_demand.call({}, {}, limit_s=1.0)
        assert (starts, on_demand.failed, on_demand.ready) == (wanted, True, False)


async def test_the_pause_doubles_and_a_good_start_forgets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    now = 100.0
    monkeypatch.setattr(loop, "time", lambda: now)
    good = AsyncWorker(WorkerSpec("tests.kit.bad_child", {}, "it"))
    outcomes: list[AsyncWorker | ChildDied] = [ChildDied("1"), ChildDied("2"), ChildDied("3"), good]

    async def start() -> AsyncWorker:
        outcome = outcomes.pop(0)
        if isinstance(outcome, ChildDied):
            raise outcome
        return outcome

    on_demand = OnDemand(start, pause_s=1.0)
    for at, said in ((0.0, "1"), (0.9, "1"), (1.0, "2"), (2.9, "2"), (3.0, "3"), (6.9, "3")):
        now = 100.0 + at
        with pytest.raises(ChildDied, match=said):
            await on_demand.begin()
    now = 107.0
    assert await on_demand.begin() is good
    assert not on_demand.failed
    on_demand.end()


async def test_one_that_is_ended_while_it_starts_leaves_no_child() -> None:
    may_go_on, started = asyncio.Event(), asyncio.Event()

    async def start() -> AsyncWorker:
        worker = await AsyncWorker.start(WorkerSpec("tests.kit.answering_child", {}, "it"), 60.0)
        started.set()
        await may_go_on.wait()
        return worker

    on_demand = OnDemand(start)
    calling = asyncio.create_task(on_demand.call({"do": "pid"}, {}, limit_s=60.0))
    await started.wait()
    on_demand.end()
    may_go_on.set()
    with pytest.raises(RuntimeFailure, match="it was closed"):
        await calling
    assert not children_of(os.getpid(), "tests.kit.answering_child")
    assert (await on_demand.call({"do": "pid"}, {}, limit_s=60.0))[0]["pid"] == on_demand.pid
    on_demand.end()
