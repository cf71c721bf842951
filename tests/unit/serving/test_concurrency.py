"""A model that everybody asks, or that is slow, takes neither the places nor the thread of another one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from littoral_node.serving.concurrency import ConcurrencyLimiter, TooManyRequests, evenly
from littoral_node.serving.service import Service
from littoral_node.serving.slots import Served, Slots
from littoral_node.telemetry.counting import TelemetryWindows
from tests.kit.serving import asked_of, served


class Held:
    """A real model whose inferences wait until they may go on."""

    def __init__(self, model: Served) -> None:
        self.model = model.model
        self.go_on = threading.Event()

    def infer(self, x: np.ndarray) -> np.ndarray:
        self.go_on.wait()
        return self.model.infer(x)

    def run(self, feeds: dict) -> dict:
        raise AssertionError("not asked for")

    def close(self) -> None:
        self.model.close()


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[tuple[Held, Slots]]:
    """The model `slow`, in a thread as one that takes long is, beside `quick`."""
    slots = Slots()
    first = served(tmp_path / "slow")
    held = Held(first)
    slots.swap("slow", replace(first, model=held, isolated=True))
    slots.swap("quick", served(tmp_path / "quick", seed=1))
    yield held, slots
    held.go_on.set()
    slots.close()


async def test_a_slow_model_that_everybody_asks_does_not_starve_another(slow: tuple[Held, Slots]) -> None:
    held, slots = slow
    service = Service(slots, TelemetryWindows(), max_in_flight=20)
    question = asked_of(np.zeros((1, *slots.get("quick").manifest.input.shape), np.uint8))
    asking = [asyncio.create_task(service.infer("slow", question)) for _ in range(15)]
    refused, waiting = await asyncio.wait(asking, return_when=asyncio.FIRST_EXCEPTION)
    while len(refused) < 5:  # those over its half are told to come again
        refused, waiting = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
    assert all(isinstance(task.exception(), TooManyRequests) for task in refused)
    assert len(waiting) == 10
    for _ in range(20):  # in a row: none of them waits for what is slow
        assert (await service.infer("quick", question)).model == "quick"
    held.go_on.set()
    answers = await asyncio.gather(*waiting)
    assert [answer.model for answer in answers] == ["slow"] * 10
    assert (await service.infer("slow", question)).model == "slow"  # its places are free again
    service.close()


def test_places_follow_what_is_served_and_the_shares(tmp_path: Path) -> None:
    slots = Slots()
    slots.swap("a", served(tmp_path / "a"))
    limiter = ConcurrencyLimiter(slots, lambda models: {name: 4 // len(models) for name in models})
    with (
        limiter.of("a"),
        limiter.of("a"),
        limiter.of("a"),
        limiter.of("a"),
        pytest.raises(TooManyRequests, match="4 requests of a"),
        limiter.of("a"),
    ):
        pass
    slots.swap("b", served(tmp_path / "b"))
    with limiter.of("a"), limiter.of("a"), pytest.raises(TooManyRequests, match="as many as its quota"), limiter.of("a"):
        pass
    with limiter.of("a"), limiter.of("b"):
        pass
    assert evenly(3)(("a", "b", "c", "d")) == dict.fromkeys("abcd", 1)
    slots.close()
