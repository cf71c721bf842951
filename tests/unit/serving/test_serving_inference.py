"""Where an inference runs, and what it leaves behind."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import numpy as np
import pytest

from littoral.errors import BadInput, RuntimeFailure
from littoral.preparation import Input
from littoral_node.serving.inference import INLINE_VALUES, Inference
from littoral_node.serving.slots import Slots
from littoral_node.telemetry.counting import RequestCounts, TelemetryWindows
from tests.kit.models import HERE, SHAPE, images, logits_of, weights
from tests.kit.serving import MODEL, asked_of, served

LARGE, CLASSES = (1, 128, 128), 800  # 52 MB of weights: several milliseconds an inference


def workers() -> int:
    return sum(thread.name.startswith("inference") for thread in threading.enumerate())


async def test_a_small_model_is_run_in_the_loop(tmp_path: Path) -> None:
    slots = Slots()
    slots.swap(MODEL, served(tmp_path))
    inference = Inference(slots, TelemetryWindows())
    for _ in range(200):
        await inference.answer(MODEL, asked_of(images(1)))
    assert workers() == 0
    inference.close()
    slots.close()


@pytest.mark.parametrize("runtime", HERE)
async def test_a_large_one_runs_beside_it_and_is_closed_after_a_cancelled_request(runtime: str, tmp_path: Path) -> None:
    slots = Slots()
    large = served(tmp_path / "large", runtime, shape=LARGE, classes=CLASSES)
    slots.swap(MODEL, large)
    inference = Inference(slots, TelemetryWindows())
    try:
        question = asked_of(images(4, shape=LARGE))
        await inference.answer(MODEL, question)  # what it costs is not known before
        asked = asyncio.create_task(inference.answer(MODEL, question))
        while not workers():  # noqa: ASYNC110 - a thread says nothing to the loop
            await asyncio.sleep(0)
        slots.swap(MODEL, served(tmp_path / "small", runtime, seed=1))
        asked.cancel()
        await asyncio.wait([asked])
        assert asked.cancelled()
        with pytest.raises(RuntimeFailure, match="closed"):
            large.model.infer(np.zeros((1, *LARGE), np.float32))
        answer = await inference.answer(MODEL, asked_of(images(1)))  # another model: its own cost
        assert answer.tensors["logits"].shape == (1, 3)
    finally:
        inference.close()
        slots.close()
    assert workers() == 0


async def test_every_request_counts_for_the_model_that_answered(tmp_path: Path) -> None:
    slots, telemetry = Slots(), TelemetryWindows()
    inference = Inference(slots, telemetry)
    for seed, requests in ((0, 3), (1, 5)):
        slots.swap(MODEL, served(tmp_path / str(seed), seed=seed))
        for _ in range(requests):
            await inference.answer(MODEL, asked_of(images(2)))
    first, second = telemetry.reports(1_000.0)
    assert [(r.manifest_digest, r.requests, sum(r.class_counts)) for r in (first, second)] == [
        ("seed-0", 3, 6),
        ("seed-1", 5, 10),
    ]
    assert first.inputs is not None
    assert second.inputs is not None
    assert first.inputs.sketch_id == second.inputs.sketch_id  # the same inputs: the baseline goes on
    assert (first.inputs.examples, second.inputs.examples) == (6, 10)
    slots.close()


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e-10])
async def test_values_that_are_large_and_finite_once_they_are_prepared_are_taken(tmp_path: Path, scale: float) -> None:
    slots = Slots()
    given = Input("x", SHAPE, scale, (0.0,), (1.0,))
    slots.swap(MODEL, served(tmp_path, input=given))
    x = np.zeros((1, *SHAPE), np.float32)
    x[0, 0, 0, 0] = 1e38  # its square is none that float32 can hold
    answer = await Inference(slots, TelemetryWindows()).answer(MODEL, asked_of(x, "FP32"))
    expected = given.prepare(x).reshape(1, -1) @ weights()
    np.testing.assert_allclose(answer.tensors["logits"], expected, rtol=1e-5)
    slots.close()


async def test_values_that_are_too_large_once_they_are_prepared_are_refused_and_not_counted(tmp_path: Path) -> None:
    slots, telemetry = Slots(), TelemetryWindows()
    slots.swap(MODEL, served(tmp_path, input=Input("x", SHAPE, 1e30, (0.0,), (1.0,))))
    inference = Inference(slots, telemetry)
    for x, datatype in ((np.full((1, *SHAPE), 1e10, np.float32), "FP32"), (np.full((1, *SHAPE), 2**60, np.int64), "INT64")):
        with pytest.raises(BadInput, match="too large for this model's input"):
            await inference.answer(MODEL, asked_of(x, datatype))
    assert telemetry.counts(MODEL) == RequestCounts(0, 0)
    await inference.answer(MODEL, asked_of(np.ones((1, *SHAPE), np.float32), "FP32"))
    assert telemetry.counts(MODEL) == RequestCounts(1, 0)
    slots.close()


async def test_logits_that_are_no_numbers_are_a_failure(tmp_path: Path) -> None:
    slots, telemetry = Slots(), TelemetryWindows()
    slots.swap(MODEL, served(tmp_path, input=Input("x", SHAPE, 1.0, (0.0,), (1.0,))))
    with pytest.raises(RuntimeFailure, match="not numbers"):
        await Inference(slots, telemetry).answer(MODEL, asked_of(np.full((1, *SHAPE), 3e38), "FP64"))
    assert telemetry.counts(MODEL) == RequestCounts(1, 1)
    slots.close()


async def test_many_values_are_prepared_beside_the_loop_and_mean_the_same(tmp_path: Path) -> None:
    slots = Slots()
    slots.swap(MODEL, served(tmp_path, shape=(1, 64, 64)))
    inference = Inference(slots, TelemetryWindows())
    try:
        x = images(INLINE_VALUES // 4096 + 1, shape=(1, 64, 64))
        assert workers() == 0
        answer = await inference.answer(MODEL, asked_of(x))
        assert workers() == 1
        np.testing.assert_allclose(answer.tensors["logits"], logits_of(x, weights(shape=(1, 64, 64))), rtol=1e-3, atol=1e-3)
        with pytest.raises(BadInput, match="too large"):
            await inference.answer(MODEL, asked_of(np.full(x.shape, 1e300), "FP64"))
    finally:
        inference.close()
        slots.close()
