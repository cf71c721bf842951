"""One inference request over any transport: from its tensors to the tensors of the answer, counted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from littoral.answers import fault_of, small
from littoral.errors import BadInput, FleetError, RuntimeFailure
from littoral.preparation import Input
from littoral_node.runtimes.ended import BadValues, RuntimeCrash, RuntimeHang
from littoral_node.serving.batching import BATCH_FROM_S, Batcher, Feeds, Merger
from littoral_node.serving.results import InferenceResult, tensors_of
from littoral_node.serving.slots import Served, Slots
from littoral_node.serving.tensors import LABEL, Asked
from littoral_node.serving.values import Array
from littoral_node.telemetry.counting import TelemetryWindows

INLINE_S = 0.002
"""What is expected to take longer runs in the worker thread: it would hold up every other request and the session."""
INLINE_VALUES = 250_000
"""Values of a request that are prepared in the loop itself; more take over a millisecond."""
INLINE_PIXELS = 50_000
"""Values of images that are resized in the loop itself."""
BATCH = 32
_LARGEST, _WHOLE = float(np.finfo(np.float32).max), 2.0**64
"""Of float32; and what neither whole numbers exceed, nor floats whose squares float32 holds."""
_TIMED_FIRST, _TIMED_EVERY = 4, 64
_COMPARED_MOST = 64
"""Refused requests of one trial that are tried on the model before, at most."""
T = TypeVar("T")
X = TypeVar("X")


@dataclass(slots=True)
class _Cost:
    """What one model's inferences cost: measured on the first few, then now and then, for the measuring costs too.

    In CPU time: on a busy machine the clock would count the waiting for others, and for the other thread's lock.
    """

    manifest_digest: str
    seconds: float = 0.0  # an example
    runs: int = 0

    def long(self, examples: int) -> bool:
        """Whether a batch of this size leaves the loop."""
        return self.seconds * examples > INLINE_S or (self.runs == 0 and self.seconds > 0)

    def run(self, infer: Callable[[X], T], given: X, examples: int) -> T:
        self.runs += 1
        if self.runs > _TIMED_FIRST and self.runs % _TIMED_EVERY:
            return infer(given)
        began = time.thread_time()
        answer = infer(given)
        newest = (time.thread_time() - began) / examples
        self.seconds = newest if self.runs <= _TIMED_FIRST else (self.seconds + newest) / 2
        return answer


class Inference:
    """Answers requests from what the slots hold, and counts every one of a model that is served. For one event loop.

    One inference of a model at a time leaves the loop, in the model's own thread: two would fight for the cores and add to the
    peak of memory. Another model does not wait for it.

    Args:
        batch: examples of several requests that go through a model together, at most (batching.py); 1: never.
    """

    def __init__(
        self,
        slots: Slots,
        telemetry: TelemetryWindows,
        monotonic: Callable[[], float] = time.perf_counter,
        *,
        batch: int = BATCH,
    ) -> None:
        self._slots = slots
        self._batch = batch
        self._batchers: dict[str, tuple[Served, Batcher]] = {}  # by model
        self._telemetry = telemetry
        self._monotonic = monotonic
        self._workers: dict[str, ThreadPoolExecutor] = {}  # by model
        self._costs: dict[str, _Cost] = {}  # by model
        self._compared: dict[str, tuple[str, int]] = {}  # by model: manifest on trial, refused requests that were tried before it

    async def answer(self, name: str, asked: Asked) -> InferenceResult:
        """One request to one model. It is answered without waiting wherever that takes no longer than INLINE_S.

        Raises:
            NotFound: no such model is served. BadInput: names the field, what was wanted and what came; it says nothing about
                the model and is not counted. BadValues: the same, found by the runtime. RuntimeFailure: the runtime gave up.

        A request that takes a model on trial down with it is answered by the one that stands by. One that a model on trial
        refuses is tried there, too, and counted where it would have been answered: the client has not changed, the model has.
        """
        while True:
            with self._slots.lease(name) as served:
                began = self._monotonic()
                try:
                    request = asked(served.manifest)
                    if served.manifest.signature is None:
                        tensors = await self._classified(name, served, request.raw, began)
                    else:
                        tensors = await self._tensors(name, served, request.inputs, began)
                    answered = InferenceResult(name, served.manifest_digest, request, tensors)
                    if (beside := self._slots.beside.get(name)) is not None:
                        beside.offer(served, asked, answered)
                    return answered
                except (RuntimeCrash, RuntimeHang):
                    if not served.isolated:
                        raise
                    self._slots.back(name, served)
                    if self._slots.get(name) is None:
                        raise
                except (BadInput, BadValues):
                    if served.isolated:
                        await self._ask_before(name, served, asked)
                    raise

    def close(self) -> None:
        """Ends the worker threads, once they are done with what they have."""
        for worker in self._workers.values():
            worker.shutdown()
        self._workers.clear()

    async def _ask_before(self, name: str, tried: Served, asked: Asked) -> None:
        """Counts a request that the model on trial refused, where the one that stands by would have answered it."""
        digest, looks = self._compared.get(name, ("", 0))
        looks = looks + 1 if digest == tried.manifest_digest else 1
        if looks > _COMPARED_MOST or (lease := self._slots.lease_standby(name)) is None:
            return
        self._compared[name] = (tried.manifest_digest, looks)
        with lease as before:
            try:
                request = asked(before.manifest)
                if before.manifest.signature is None:
                    prepared = _prepared(before, await self._sized(name, before.manifest.input, request.raw))
                    logits = await self._in_thread(name, before.model.infer, prepared)
                    _check_answer(before, {before.manifest.output.name: logits})
                else:
                    _check_answer(before, await self._in_thread(name, before.model.run, request.inputs))
            except FleetError:
                return
        self._telemetry.turn_away(name)

    async def _sized(self, name: str, given: Input, raw: Array) -> Array:
        """Large images leave the loop: resizing one takes longer than a small model's inference."""
        if given.resize is None or raw.shape[1:] == given.shape or raw.size <= INLINE_PIXELS:
            return given.sized(raw)
        return await self._in_thread(name, given.sized, raw)

    async def _classified(self, name: str, served: Served, raw: Array, began: float) -> Mapping[str, Array]:
        """What one of our own models answers."""
        given = served.manifest.input
        if given.resize is not None:
            raw = await self._sized(name, given, raw)
        prepared = _prepared(served, raw) if raw.size <= INLINE_VALUES else await self._in_thread(name, _prepared, served, raw)
        examples, cost = len(prepared), self._cost(name, served)
        batcher = None
        if cost.seconds >= BATCH_FROM_S:
            batcher = self._batcher(name, served, cost, lambda feeds: {"": served.model.infer(feeds[""])})
        try:
            if batcher is not None:
                logits = (await batcher.run({"": prepared}, examples))[""]
            elif served.isolated or cost.long(examples):
                logits = await self._beside(name, served, cost, served.model.infer, prepared, examples)
            else:
                logits = cost.run(served.model.infer, prepared, examples)
            if not small(logits):  # most are, and then they are finite
                _check_answer(served, {served.manifest.output.name: logits})
        except Exception:
            self._count(name, served, None, None, began, ok=False)
            raise  # a client that went away says nothing about the model: a cancellation is not counted
        tensors = tensors_of(served.manifest, logits)
        self._count(name, served, given.sketched(raw, prepared), tensors[LABEL].tolist(), began, ok=True)
        return tensors

    async def _tensors(self, name: str, served: Served, inputs: Mapping[str, Array], began: float) -> Mapping[str, Array]:
        """What a model that was imported answers."""
        manifest, first = served.manifest, next(iter(inputs.values()))
        examples = max(1, len(first)) if first.ndim else 1  # a first size may be no batch, and 0
        try:
            cost, signature = self._cost(name, served), manifest.signature
            batched = signature is not None and signature.batched
            batcher = self._batcher(name, served, cost, served.model.run) if batched else None
            if batcher is not None:
                tensors = await batcher.run(inputs, examples)
            elif served.isolated or cost.long(examples):
                tensors = await self._beside(name, served, cost, served.model.run, inputs, examples)
            else:
                tensors = cost.run(served.model.run, inputs, examples)
            _check_answer(served, tensors)
        except BadValues:
            raise  # the client's fault: it says nothing about the model
        except Exception:
            self._count(name, served, None, None, began, ok=False)
            raise
        classes = tensors[manifest.output.name].argmax(axis=1).tolist() if manifest.output.labels else None
        self._count(name, served, first if manifest.sketch.edges else None, classes, began, ok=True)
        return tensors

    def _cost(self, name: str, served: Served) -> _Cost:
        cost = self._costs.get(name)
        if cost is None or cost.manifest_digest != served.manifest_digest:
            # Our own networks are small; what was imported may be anything, and has to show it first.
            unknown = 0.0 if served.manifest.signature is None else INLINE_S
            cost = self._costs[name] = _Cost(served.manifest_digest, unknown)
        return cost

    async def _beside(self, name: str, served: Served, cost: _Cost, infer: Callable[[X], T], given: X, examples: int) -> T:
        """In the model's thread."""
        if served.isolated:
            return await self._in_thread(name, infer, given)
        return await self._in_thread(name, cost.run, infer, given, examples)

    def _batcher(self, name: str, served: Served, cost: _Cost, infer: Callable[[Feeds], Feeds]) -> Batcher | None:
        """None where requests are better run one by one."""
        if self._batch == 1 or served.isolated or not cost.runs or cost.seconds < BATCH_FROM_S:
            return None
        known = self._batchers.get(name)
        if known is not None and known[0] is served:
            return known[1] if known[1].pays else None
        batcher = Batcher(
            Merger(lambda feeds, examples: cost.run(infer, feeds, examples)),
            self._batch,
            long=cost.long,
            in_thread=lambda work: self._in_thread(name, work),
        )
        self._batchers[name] = (served, batcher)
        return batcher

    async def _in_thread(self, name: str, work: Callable[..., T], *given: Any) -> T:
        if (worker := self._workers.get(name)) is None:
            worker = self._workers[name] = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"inference of {name}")
        running = asyncio.get_running_loop().run_in_executor(worker, work, *given)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait([running])  # the lease must outlive the thread's use of the model
            raise

    def _count(self, name: str, served: Served, raw: Array | None, classes: list[int] | None, began: float, *, ok: bool) -> None:
        self._telemetry.observe(name, served.manifest, served.manifest_digest, raw, classes, self._monotonic() - began, ok=ok)


def _check_answer(served: Served, tensors: Mapping[str, Array]) -> None:
    """Raises RuntimeFailure where these are no answer of that model."""
    if fault := fault_of(served.manifest, tensors):
        raise RuntimeFailure(f"model {served.manifest.name}: {fault}")


def _prepared(served: Served, raw: Array) -> npt.NDArray[np.float32]:
    """Raises BadInput where a value is too large for float32 once it is prepared."""
    most = served.prepare.most
    if raw.dtype == np.float32:
        cannot = most >= _LARGEST or (most >= _WHOLE and small(raw))
    else:
        cannot = most >= _WHOLE and raw.dtype.kind in "bui"
    if cannot:
        return served.prepare(raw)
    with np.errstate(over="ignore", invalid="ignore"):  # refused in the next line
        prepared = served.prepare(raw)
    if not np.isfinite(prepared).all():
        raise BadInput("inputs[0].data: holds values too large for this model's input")
    return prepared
