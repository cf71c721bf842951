"""One inference request, whatever transport brought it: from parsed JSON to the tensors of the answer, counted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_node.runtimes import Model
from edge_node.serving.slots import Served, Slots
from edge_node.serving.tensors import Answer, Array, read, tensors_of
from edge_node.telemetry import Telemetry
from littoral.errors import BadInput, RuntimeFailure
from littoral.manifest import Manifest

INLINE_S = 0.002
"""What is expected to take longer runs in the worker thread: it would hold up every other request and the session."""
_TIMED_FIRST, _TIMED_EVERY = 4, 64


@dataclass(slots=True)
class _Cost:
    """What one model's inferences cost: measured on the first few, then now and then, for the measuring costs too.

    In CPU time: on a busy machine the clock would count the waiting for others, and for the other thread's lock.
    """

    manifest_digest: str
    seconds: float = 0.0  # an example
    runs: int = 0

    def run(self, model: Model, prepared: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        self.runs += 1
        if self.runs > _TIMED_FIRST and self.runs % _TIMED_EVERY:
            return model.infer(prepared)
        began = time.thread_time()
        logits = model.infer(prepared)
        newest = (time.thread_time() - began) / len(prepared)
        self.seconds = newest if self.runs <= _TIMED_FIRST else (self.seconds + newest) / 2
        return logits


class Inference:
    """Answers requests from what the slots hold, and counts every one of a model that is served. For one event loop.

    One inference at a time leaves the loop, in a thread of its own: two would fight for the cores and add to the peak of memory.
    """

    def __init__(self, slots: Slots, telemetry: Telemetry, monotonic: Callable[[], float] = time.perf_counter) -> None:
        self._slots = slots
        self._telemetry = telemetry
        self._monotonic = monotonic
        self._worker: ThreadPoolExecutor | None = None
        self._costs: dict[str, _Cost] = {}  # by model

    async def answer(self, name: str, body: Any, tail: memoryview | None = None) -> Answer:
        """One request to one model.

        Args:
            body: the request's JSON, parsed.
            tail: what followed it, for tensors in binary form; None: the request has none.

        Raises:
            NotFound: no such model is served. BadInput: names the field, what was wanted and what came; it says nothing about
                the model and is not counted. RuntimeFailure: the runtime gave up.
        """
        with self._slots.lease(name) as served:
            request = read(body, served.manifest, tail)
            began = self._monotonic()
            prepared = _prepared(served.manifest, request.raw)
            try:
                logits = await self._logits(name, served, prepared)
            except BaseException:
                self._count(name, served, request.raw, None, began)
                raise
            self._count(name, served, request.raw, logits, began)
            return Answer(name, served.manifest_digest, request, tensors_of(served.manifest, logits))

    def close(self) -> None:
        """Ends the worker thread, once it is done with what it has."""
        if self._worker is not None:
            self._worker.shutdown()
            self._worker = None

    async def _logits(self, name: str, served: Served, prepared: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        cost = self._costs.get(name)
        if cost is None or cost.manifest_digest != served.manifest_digest:
            cost = self._costs[name] = _Cost(served.manifest_digest)
        if cost.seconds * len(prepared) > INLINE_S:
            logits = await self._elsewhere(cost, served, prepared)
        else:
            logits = cost.run(served.model, prepared)
        if not np.isfinite(logits).all():
            raise RuntimeFailure(f"model {served.manifest.name}: answered with values that are not numbers")
        return logits

    async def _elsewhere(self, cost: _Cost, served: Served, prepared: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        if self._worker is None:
            self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="inference")
        running = asyncio.get_running_loop().run_in_executor(self._worker, cost.run, served.model, prepared)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait([running])  # the lease must outlive the thread's use of the model
            raise

    def _count(self, name: str, served: Served, raw: Array, logits: npt.NDArray[np.float32] | None, began: float) -> None:
        self._telemetry.observe(
            name, served.manifest, served.manifest_digest, raw, logits, self._monotonic() - began, ok=logits is not None
        )


def _prepared(manifest: Manifest, raw: Array) -> npt.NDArray[np.float32]:
    """Raises BadInput where a value is too large for float32 once it is prepared."""
    if raw.dtype == np.uint8:  # what mostly comes, and cannot be
        return manifest.input.prepare(raw)
    with np.errstate(over="ignore", invalid="ignore"):  # refused in the next line
        prepared = manifest.input.prepare(raw)
    if not np.isfinite(prepared).all():
        raise BadInput("inputs[0].data: holds values too large for this model's input")
    return prepared
