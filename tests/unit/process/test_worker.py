"""What users of a worker rely on beside the cases of tests/contract/test_processes.py, on both sides: blocking and asyncio."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from littoral.errors import BadInput, RuntimeFailure, TooLarge
from littoral.process.aio import AsyncWorker
from littoral.process.limits import ChildLimits
from littoral.process.worker import BlockingWorker, ChildDied, Raised, WorkerSpec
from tests.kit.patience import PATIENCE_S
from tests.kit.workers import ended

MODULE = "tests.kit.answering_child"
Message = tuple[dict[str, Any], dict[str, Any]]


class Either:
    """A worker of one of the two kinds, awaited in the same way."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self.worker: BlockingWorker | AsyncWorker | None = None

    async def start(self, settings: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        if self._kind == "asyncio":
            self.worker = await AsyncWorker.start(WorkerSpec(MODULE, settings or {}, "it", **more), PATIENCE_S)
            return {}
        self.worker = BlockingWorker(WorkerSpec(MODULE, settings or {}, "it", **more))
        return await asyncio.to_thread(self.worker.ready, PATIENCE_S)

    async def call(self, do: str, arrays: Mapping[str, Any] | None = None, **head: Any) -> Message:
        if isinstance(self.worker, AsyncWorker):
            return await self.worker.call({"do": do, **head}, arrays or {}, limit_s=PATIENCE_S)
        assert self.worker is not None
        return await asyncio.to_thread(self.worker.call, {"do": do, **head}, arrays or {}, limit_s=PATIENCE_S)


@pytest.fixture(params=["blocking", "asyncio"])
def either(request: pytest.FixtureRequest) -> Either:
    return Either(request.param)


async def test_calls_take_turns_and_each_gets_its_own_answer(either: Either) -> None:
    await either.start()
    arrays = [{"x": np.full((300, 301), number, np.float32)} for number in range(8)]
    answers = await asyncio.gather(*(either.call("echo", each) for each in arrays))
    for (_, came), sent in zip(answers, arrays, strict=True):
        np.testing.assert_array_equal(came["x"], sent["x"])
    assert either.worker is not None
    either.worker.end()
    either.worker.end()
    assert not either.worker.alive
    with pytest.raises(RuntimeFailure, match="it was closed"):
        await either.call("echo")


async def test_an_error_that_the_child_raises_is_an_answer_of_its_own_kind_and_the_child_lives(either: Either) -> None:
    await either.start(raised=Raised(refused=(RuntimeFailure, BadInput)))
    (head, _) = await either.call("pid")
    with pytest.raises(BadInput, match="x: is wrong") as raised:
        await either.call("refuse")
    assert raised.value.hint == "give another"
    assert (await either.call("pid"))[0] == head
    assert either.worker is not None
    either.worker.end()


async def test_one_that_cannot_be_ready_says_why_with_its_code(either: Either) -> None:
    with pytest.raises(RuntimeFailure, match="it cannot be ready") as raised:
        await either.start({"refuse": "no-such-code"})
    assert raised.value.code == "no-such-code"
    if either.worker is not None:
        either.worker.end()


async def test_what_is_over_the_bound_is_refused_on_either_side_and_the_child_lives(either: Either) -> None:
    await either.start(most_bytes=1_000, raised=Raised(refused=(RuntimeFailure, TooLarge)))
    with pytest.raises(TooLarge, match=r"a body of 1,001, at most .* and 1,000 travel"):
        await either.call("echo", {"x": np.zeros(1_001, np.uint8)})
    with pytest.raises(TooLarge, match=r"a body of 2,000, at most .* and 1,000 travel"):
        await either.call("grow", bytes=2_000)
    assert (await either.call("grow", bytes=1_000))[1]["large"].nbytes == 1_000
    assert either.worker is not None
    either.worker.end()


async def test_a_child_that_writes_without_end_is_not_held_up_and_its_log_is_bounded(either: Either, tmp_path: Path) -> None:
    log = tmp_path / "it.log"
    await either.start(log=log)
    await either.call("print")
    await either.call("write", lines=25_000)
    with pytest.raises(ChildDied, match=r"it ended with SIGABRT: line 24999 x+ \(its log is .*it\.log\)"):
        await either.call("write", lines=25_000, end=True)
    assert "what a library prints" not in log.read_text()  # that was some megabytes ago
    assert 0 < log.stat().st_size <= 1_000_000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["it.log", "it.log.1"]


async def test_one_that_is_ended_while_it_answers_ends_that_call(either: Either) -> None:
    await either.start()
    calling = asyncio.ensure_future(either.call("write", lines=10**9))
    await asyncio.sleep(0)
    assert either.worker is not None
    either.worker.end()
    with pytest.raises(RuntimeFailure, match="it was closed"):
        await asyncio.wait_for(calling, PATIENCE_S)


async def test_a_worker_that_nothing_refers_to_ends_its_child(either: Either) -> None:
    await either.start()
    assert either.worker is not None
    pid, either.worker = either.worker.pid, None
    gc.collect()
    await asyncio.wait_for(ended(pid), PATIENCE_S)


async def test_limits_reach_the_child_and_its_end_is_noticed() -> None:
    noticed = threading.Event()
    worker = BlockingWorker(WorkerSpec(MODULE, {"a": 1}, "it", limits=ChildLimits(nice=2), on_end=noticed.set))
    about = await asyncio.to_thread(worker.ready, PATIENCE_S)
    assert about == {"settings": {"a": 1}, "nice": os.nice(0) + 2}
    worker.end()
    assert await asyncio.to_thread(noticed.wait, PATIENCE_S)


async def test_a_child_that_needs_more_memory_than_it_may_take_is_named_with_the_error(either: Either) -> None:
    await either.start(limits=ChildLimits(memory_bytes=1 << 31), most_bytes=1 << 33)
    assert (await either.call("grow", bytes=1 << 20))[1]["large"].nbytes == 1 << 20
    with pytest.raises(ChildDied, match=r"it ended with exit code 1: .*MemoryError.* 4\.00 GiB"):
        await either.call("grow", bytes=1 << 32)
