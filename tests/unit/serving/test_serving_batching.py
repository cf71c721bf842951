"""Micro-batches: who waits goes together, answers stay what they are, and one that fails takes no other along."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral.errors import RuntimeFailure
from littoral_node.serving.batching import TRIALS, BatchEntry, Batcher, Feeds, Merger, Result
from littoral_node.serving.inference import INLINE_S, Inference
from littoral_node.serving.slots import Served, Slots
from littoral_node.telemetry.counting import RequestCounts, TelemetryWindows
from tests.kit.models import images, logits_of, weights
from tests.kit.patience import PATIENCE_S
from tests.kit.serving import MODEL, asked_of, served


class Doubling:
    """Answers y = 2 x, counts its runs, and can be held up; fails where an input holds `poison`."""

    def __init__(self, poison: float | None = None) -> None:
        self.runs: list[int] = []
        self.poison = poison
        self.may = threading.Event()
        self.may.set()
        self.clock = 0.0

    def infer(self, feeds: Feeds, examples: int) -> Feeds:
        assert self.may.wait(PATIENCE_S)
        self.runs.append(examples)
        self.clock += 1.0  # a run costs the same however many go through it
        if self.poison is not None and (feeds["x"] == self.poison).any():
            raise RuntimeFailure("poisoned")
        return {"y": feeds["x"] * 2}

    def merger(self, **fields: Any) -> Merger:
        return Merger(self.infer, clock=lambda: self.clock, **fields)


def entry(x: npt.NDArray[Any]) -> BatchEntry:
    return BatchEntry({"x": x}, len(x), asyncio.get_running_loop().create_future())


def batcher(merger: Merger, *, long: bool, most: int = 32) -> Batcher:
    async def in_thread(work: Any) -> list[Result]:
        return list(await asyncio.to_thread(work))

    return Batcher(merger, most, long=lambda examples: long, in_thread=in_thread)


async def test_what_waits_for_a_run_goes_together_in_the_next() -> None:
    model = Doubling()
    queue = batcher(model.merger(together=True), long=True)
    model.may.clear()
    inputs = [np.full((n % 3 + 1, 4), n, np.float32) for n in range(12)]
    asked = [asyncio.create_task(queue.run({"x": x}, len(x))) for x in inputs]
    await asyncio.sleep(0)
    model.may.set()
    answers = await asyncio.wait_for(asyncio.gather(*asked), PATIENCE_S)
    for x, answer in zip(inputs, answers, strict=True):
        np.testing.assert_array_equal(answer["y"], x * 2)
    assert model.runs == [1, sum(map(len, inputs)) - 1]


async def test_who_comes_alone_is_run_at_once_and_who_comes_in_the_same_turn_together() -> None:
    model = Doubling()
    queue = batcher(model.merger(together=True), long=False)
    x = np.ones((1, 2), np.float32)
    for _ in range(3):
        await queue.run({"x": x}, 1)
        await asyncio.sleep(0)
    assert model.runs == [1, 1, 1]
    await asyncio.gather(*(queue.run({"x": x}, 1) for _ in range(5)))
    assert model.runs[3:] == [1, 4]


async def test_no_batch_is_larger_than_the_cap_and_other_shapes_go_apart() -> None:
    model = Doubling()
    queue = batcher(model.merger(together=True), long=True, most=4)
    model.may.clear()
    shapes = [(1, 2), (2, 2), (2, 3), (3, 2), (1, 2), (9, 2)]
    asked = [asyncio.create_task(queue.run({"x": np.ones(shape)}, shape[0])) for shape in shapes]
    await asyncio.sleep(0)
    model.may.set()
    answers = await asyncio.wait_for(asyncio.gather(*asked), PATIENCE_S)
    assert [answer["y"].shape for answer in answers] == shapes
    assert sorted(model.runs) == [1, 2, 3, 3, 9]  # the first alone; 2 and 1; 3; the one of another shape; what is over the cap


async def test_one_that_fails_takes_no_other_along() -> None:
    merger = Doubling(poison=3.0).merger(together=True)
    results = merger.run([entry(np.full((1, 2), n, np.float32)) for n in range(5)])
    assert [isinstance(result, RuntimeFailure) for result in results] == [False, False, False, True, False]


async def test_a_model_is_tried_both_ways_before_it_is_trusted() -> None:
    model = Doubling()
    merger = model.merger()
    for _ in range(TRIALS):
        assert merger.together is None
        merger.run([entry(np.ones((1, 2))), entry(np.zeros((1, 2)))])
    assert merger.together is True

    same = Merger(lambda feeds, examples: {"y": feeds["x"]}, clock=lambda: 0.0)
    costs = iter(range(1_000))
    dear = Merger(lambda feeds, examples: {"y": feeds["x"]}, clock=lambda: float(next(costs)))  # together takes as long
    mixing = Merger(lambda feeds, examples: {"y": feeds["x"] - feeds["x"].mean(axis=0)}, clock=lambda: 0.0)
    scalar = Merger(lambda feeds, examples: {"y": feeds["x"].sum()}, clock=lambda: 0.0)
    for merger, together in ((same, True), (dear, False), (mixing, False), (scalar, False)):
        for _ in range(TRIALS):
            inputs = [entry(np.ones((1, 2))), entry(np.zeros((1, 2)))]
            alone = [merger.infer(given.feeds, 1)["y"] for given in inputs]
            answers = merger.run(inputs)
            for answer, expected in zip(answers, alone, strict=True):
                assert isinstance(answer, Mapping)
                np.testing.assert_array_equal(answer["y"], expected)
        assert merger.together is together


@given(st.lists(st.tuples(st.integers(1, 5), st.booleans()), min_size=1, max_size=20), st.integers(1, 12), st.booleans())
def test_everybody_gets_an_answer_of_their_own(requests: list[tuple[int, bool]], most: int, long: bool) -> None:
    """Whatever comes, however it is cancelled."""

    async def run() -> None:
        model = Doubling()
        queue = batcher(model.merger(), long=long, most=most)
        asked = [
            asyncio.create_task(queue.run({"x": np.full((examples, 1), n, np.float64)}, examples))
            for n, (examples, _) in enumerate(requests)
        ]
        await asyncio.sleep(0)
        for task, (_, cancelled) in zip(asked, requests, strict=True):
            if cancelled:
                task.cancel()
        answers = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), PATIENCE_S)
        for n, (answer, (examples, cancelled)) in enumerate(zip(answers, requests, strict=True)):
            if isinstance(answer, BaseException):
                assert cancelled
                assert isinstance(answer, asyncio.CancelledError)
            else:
                np.testing.assert_array_equal(answer["y"], np.full((examples, 1), 2 * n))

    asyncio.run(run())


class Slow:
    """A model of the runtime that takes as much CPU time as a large one, for however many examples; counts what it runs."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.runs = inner, []  # type: ignore[var-annotated]
        self.gate = threading.Event()
        self.gate.set()

    def infer(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        assert self.gate.wait(PATIENCE_S)
        self.runs.append(len(x))
        until = time.thread_time() + 2 * INLINE_S
        while time.thread_time() < until:
            pass
        logits: npt.NDArray[np.float32] = self.inner.infer(x)
        return logits

    def close(self) -> None:
        self.inner.close()


@pytest.mark.parametrize("batch", [1, 32])
async def test_a_real_runtime_answers_the_same_together_and_one_by_one(tmp_path: Path, batch: int) -> None:
    loaded = served(tmp_path)
    slow = Slow(loaded.model)
    slots, telemetry = Slots(), TelemetryWindows()
    slots.swap(MODEL, Served(loaded.manifest, "v", slow))  # type: ignore[arg-type]
    inference = Inference(slots, telemetry, batch=batch)
    x = images(40)
    expected = logits_of(x, weights())
    await inference.answer(MODEL, asked_of(x[:1]))
    for _ in range(TRIALS + 1):
        slow.gate.clear()
        before = len(slow.runs)
        asked = [asyncio.create_task(inference.answer(MODEL, asked_of(x[n : n + 1]))) for n in range(40)]
        await asyncio.sleep(0)
        slow.gate.set()
        answers = await asyncio.wait_for(asyncio.gather(*asked), PATIENCE_S)
        for n, answer in enumerate(answers):
            np.testing.assert_allclose(answer.tensors["logits"], expected[n : n + 1], rtol=1e-5, atol=1e-5)
            assert answer.tensors["label"] == expected[n].argmax()
    runs = slow.runs[before:]
    assert sum(runs) == 40
    assert (max(runs) > 1) is (batch > 1)
    assert telemetry.counts(MODEL) == RequestCounts(1 + 40 * (TRIALS + 1), 0)
    inference.close()
    slots.close()
