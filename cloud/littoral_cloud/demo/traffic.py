"""Sends a steady stream of labelled test images to a node's REST interface and counts the answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import orjson

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


@dataclass(slots=True)
class Tally:
    """Counts of one node: `requests` and `failed` since the start, `right` and `answered` since the last `cut`."""

    requests: int = 0
    failed: int = 0
    right: int = 0
    answered: int = 0
    failures: list[str] = field(default_factory=list)  # the first few, for the report
    _more: asyncio.Event = field(default_factory=asyncio.Event)

    def answer(self, right: bool) -> None:
        self.answered += 1
        self.right += right
        self._more.set()

    async def answers(self, count: int) -> None:
        """Returns when `count` answers have come since the last cut."""
        while self.answered < count:
            self._more.clear()
            await self._more.wait()

    def cut(self) -> float:
        """The accuracy since the last cut, a fraction (NaN without an answer). Resets the counts of answers."""
        accuracy = self.right / self.answered if self.answered else float("nan")
        self.right = self.answered = 0
        return accuracy


@dataclass(slots=True)
class RequestStream:
    """Sends one random image of `images` at a time, until stopped. `exchange` replaces the images while it runs."""

    url: str  # of the model's inference
    images: Images
    labels: Labels
    per_second: float
    rng: np.random.Generator
    clock: Callable[[], float]
    tally: Tally = field(default_factory=Tally)

    def exchange(self, images: Images, labels: Labels) -> None:
        self.images, self.labels = images, labels

    async def run(self, stop: asyncio.Event) -> None:
        """Runs until `stop` is set. Counts a failed request; never raises one."""
        async with httpx.AsyncClient(timeout=10.0, trust_env=False) as client:
            due = self.clock()
            while not stop.is_set():
                await self._send(client)
                due = max(due + 1.0 / self.per_second, self.clock() - 1.0)
                pause = due - self.clock()
                if pause > 0:
                    await _wait(stop, pause)

    async def _send(self, client: httpx.AsyncClient) -> None:
        index = int(self.rng.integers(len(self.images)))
        image, wanted = self.images[index], int(self.labels[index])
        self.tally.requests += 1
        try:
            reply = await client.post(self.url, content=_body(image), headers={"content-type": "application/json"})
            reply.raise_for_status()
            answer = _label(orjson.loads(reply.content))
        except (httpx.HTTPError, ValueError, KeyError, IndexError) as error:
            self.tally.failed += 1
            if len(self.tally.failures) < 5:
                self.tally.failures.append(f"{type(error).__name__}: {error}")
            return
        self.tally.answer(answer == wanted)


def _body(image: Images) -> bytes:
    tensor = {"name": "input", "shape": [1, *image.shape], "datatype": "UINT8", "data": image.reshape(-1).tolist()}
    return orjson.dumps({"inputs": [tensor], "outputs": [{"name": "label"}]})


def _label(answer: dict[str, Any]) -> int:
    return int(next(o for o in answer["outputs"] if o["name"] == "label")["data"][0])


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
