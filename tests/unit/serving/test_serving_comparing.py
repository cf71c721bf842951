"""Another model beside the one that answers: asked after the client, one request at a time, and counted."""

from __future__ import annotations

import asyncio
import threading
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import pytest

from littoral.errors import RuntimeFailure
from littoral_node.runtimes import Model, Tensor
from littoral_node.serving.comparing import SHARE, ComparedCounts, Comparison, compared_beside
from littoral_node.serving.inference import Inference
from littoral_node.serving.slots import Served
from littoral_node.telemetry.counting import TelemetryWindows
from tests.kit.models import images
from tests.kit.serving import MODEL, asked_of, served, slots_with


class _Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class _Scaled:
    """Another model: its logits are a multiple."""

    def __init__(self, model: Model, factor: int) -> None:
        self._model, self._factor = model, factor

    def infer(self, x: Tensor) -> Tensor:
        return self._model.infer(x) * np.float32(self._factor)


async def ask(inference: Inference, count: int, clock: _Clock) -> None:
    for seed in range(count):
        await inference.answer(MODEL, asked_of(images(1, seed)))
        clock.now += 10.0
        while any(task.get_name() == "a comparison" for task in asyncio.all_tasks()):  # noqa: ASYNC110
            await asyncio.sleep(0)


@pytest.mark.parametrize(("alike", "agreed"), [(True, 5), (False, 0)])
async def test_the_answers_of_both_are_counted_and_the_client_gets_that_of_the_served(
    alike: bool, agreed: int, tmp_path: Path
) -> None:
    first = served(tmp_path / "first")
    other = Served(first.manifest, "other", _Scaled(first.model, 2 if alike else -1))  # type: ignore[arg-type]
    slots, clock, counts = slots_with(first), _Clock(), ComparedCounts()
    telemetry = TelemetryWindows()
    inference = Inference(slots, telemetry)
    async with compared_beside(slots, MODEL, lambda: nullcontext(other), counts, most=5, failures=True, clock=clock):
        await ask(inference, 8, clock)
    assert (counts.asked, counts.agreed, counts.failed) == (5, agreed, 0)
    assert telemetry.of_artifact(MODEL, first.manifest_digest).requests == 8
    assert telemetry.of_artifact(MODEL, "other").requests == 0
    await ask(inference, 1, clock)
    assert counts.asked == 5  # the block has ended
    inference.close()
    slots.close()


@pytest.mark.parametrize("failures", [True, False])
async def test_what_the_other_cannot_answer_counts_where_it_is_the_candidate(failures: bool, tmp_path: Path) -> None:
    first, other = served(tmp_path / "first"), served(tmp_path / "other", seed=1, classes=5, shape=(1, 6, 6))
    slots, clock, counts = slots_with(first), _Clock(), ComparedCounts()
    inference = Inference(slots, TelemetryWindows())
    async with compared_beside(slots, MODEL, lambda: nullcontext(other), counts, most=9, failures=failures, clock=clock):
        await ask(inference, 3, clock)
    assert (counts.asked, counts.failed) == ((3, 3) if failures else (0, 0))
    inference.close()
    slots.close()
    other.model.close()


class _Slow:
    """Answers when it is let."""

    def __init__(self) -> None:
        self.may, self.asked = threading.Event(), 0

    def infer(self, x: Tensor) -> Tensor:
        self.asked += 1
        self.may.wait(30.0)
        raise RuntimeFailure("gone")


async def test_no_client_waits_one_request_is_compared_at_a_time_and_it_rests_nine_times_as_long(tmp_path: Path) -> None:
    first, slow, clock, counts = served(tmp_path), _Slow(), _Clock(), ComparedCounts()
    other = Served(first.manifest, "slow", slow)  # type: ignore[arg-type]
    slots = slots_with(first)
    inference = Inference(slots, TelemetryWindows())
    async with compared_beside(slots, MODEL, lambda: nullcontext(other), counts, most=9, failures=True, clock=clock):
        for _ in range(20):
            await inference.answer(MODEL, asked_of(images(1)))  # returns while the other model is stuck
        while not slow.asked:  # noqa: ASYNC110 - a thread says nothing to the loop
            await asyncio.sleep(0.001)
        assert (slow.asked, counts.asked) == (1, 0)
        clock.now += 2.0
        slow.may.set()
        while not counts.asked:  # noqa: ASYNC110 - counts say nothing to the loop
            await asyncio.sleep(0.001)
        clock.now += 2.0 * (1 / SHARE - 1) - 0.1
        await inference.answer(MODEL, asked_of(images(1)))
        assert counts.asked == 1
        clock.now += 0.2
        await inference.answer(MODEL, asked_of(images(1)))
        while counts.asked < 2:  # noqa: ASYNC110 - counts say nothing to the loop
            await asyncio.sleep(0.001)
    inference.close()
    slots.close()


async def test_closing_waits_until_the_other_model_is_not_used_any_more(tmp_path: Path) -> None:
    first, slow, counts = served(tmp_path), _Slow(), ComparedCounts()
    other = Served(first.manifest, "slow", slow)  # type: ignore[arg-type]
    slots = slots_with(first)
    inference = Inference(slots, TelemetryWindows())

    def lease() -> AbstractContextManager[Served]:
        return nullcontext(other)

    comparison = slots.beside[MODEL] = Comparison(lease, counts, most=9, failures=True, monotonic=_Clock())
    await inference.answer(MODEL, asked_of(images(1)))
    closing = asyncio.create_task(comparison.close())
    await asyncio.sleep(0)
    assert not closing.done()
    slow.may.set()
    await closing
    assert counts.failed == 1
    inference.close()
    slots.close()
