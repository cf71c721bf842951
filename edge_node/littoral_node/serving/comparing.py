"""Two models on the same live requests: one answers the clients, the other is asked beside it, and the classes are compared.

1. No client waits for the other model. It is asked after the client has its answer, for one request at a time.
2. Of its answers only the counts stay. No client gets one, and no telemetry counts it.
3. It takes at most SHARE of one core: after each question it rests for as much longer as it took. Requests that come meanwhile
   are not compared.
4. Of a request with many examples the first is compared, where the model takes examples one by one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass

from littoral.answers import fault_of
from littoral.errors import FleetError, RuntimeFailure
from littoral.manifest import Manifest
from littoral_node.serving.results import InferenceResult, tensors_of
from littoral_node.serving.slots import Served, Slots
from littoral_node.serving.tensors import LABEL, Asked
from littoral_node.serving.values import Array

SHARE = 0.1


@dataclass(slots=True)
class ComparedCounts:
    """`asked` requests; `agreed`: with the same class; `failed`: the other model gave no answer."""

    asked: int = 0
    agreed: int = 0
    failed: int = 0


class Comparison:
    """Of what answers under one name with one other model. For one event loop; end it with `close`.

    Args:
        lease: the other model for one question; None: it is there no more.
        counts: where each comparison is counted.
        most: requests that are compared.
        failures: whether a request that the other model cannot answer is counted; else it is left out.
    """

    def __init__(
        self,
        lease: Callable[[], AbstractContextManager[Served] | None],
        counts: ComparedCounts,
        *,
        most: int,
        failures: bool,
        monotonic: Callable[[], float],
    ) -> None:
        self._lease = lease
        self._counts = counts
        self._most = most
        self._failures = failures
        self._monotonic = monotonic
        self._rests_until = 0.0
        self._task: asyncio.Task[None] | None = None

    def offer(self, served: Served, asked: Asked, answered: InferenceResult) -> None:
        """One request that `served` has answered. Returns at once."""
        if self._task is not None or self._counts.asked >= self._most or self._monotonic() < self._rests_until:
            return
        if (wanted := _class_of(served.manifest, answered.tensors)) is not None:
            self._task = asyncio.get_running_loop().create_task(self._ask(asked, wanted), name="a comparison")

    async def close(self) -> None:
        """Returns when the other model is not used any more; nothing is compared after that."""
        self._most = 0
        while self._task is not None:
            await asyncio.wait([self._task])

    async def _ask(self, asked: Asked, wanted: str) -> None:
        began = self._monotonic()
        try:
            if (lease := self._lease()) is None:
                return
            with lease as other:
                found = await _in_thread(lambda: _ask_other(other, asked))
            if found is not None:
                self._counts.asked += 1
                self._counts.agreed += found == wanted
        except FleetError:
            if self._failures:
                self._counts.asked += 1
                self._counts.failed += 1
        finally:
            now = self._monotonic()
            self._rests_until = now + (now - began) * (1 / SHARE - 1)
            self._task = None


@asynccontextmanager
async def compared_beside(
    slots: Slots,
    name: str,
    lease: Callable[[], AbstractContextManager[Served] | None],
    counts: ComparedCounts,
    *,
    most: int,
    failures: bool,
    clock: Callable[[], float],
) -> AsyncGenerator[None]:
    """Compares while the block runs; arguments as of Comparison. When it has ended, the other model is not used any more."""
    if not most:
        yield
        return
    comparison = slots.beside[name] = Comparison(lease, counts, most=most, failures=failures, monotonic=clock)
    try:
        yield
    finally:
        if slots.beside.get(name) is comparison:
            del slots.beside[name]
        await comparison.close()


async def _in_thread(work: Callable[[], str | None]) -> str | None:
    """Cancelled, it still waits: the lease must outlive the thread's use of the model."""
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise


def _ask_other(other: Served, asked: Asked) -> str | None:
    """The class of the first example. Raises FleetError where the model does not answer this request."""
    manifest, request = other.manifest, asked(other.manifest)
    tensors: Mapping[str, Array]
    if manifest.signature is None:
        logits = other.model.infer(other.prepare(manifest.input.sized(request.raw[:1])))
        tensors = tensors_of(manifest, logits)
    else:
        batched = manifest.signature.batched
        tensors = other.model.run({name: array[:1] if batched else array for name, array in request.inputs.items()})
    if fault := fault_of(manifest, {name: values for name, values in tensors.items() if name != LABEL}):
        raise RuntimeFailure(f"{manifest.name}: {fault}")
    return _class_of(manifest, tensors)


def _class_of(manifest: Manifest, tensors: Mapping[str, Array]) -> str | None:
    """The label of the first example; None where the model names no classes."""
    scores = tensors[manifest.output.name]
    if not manifest.output.labels or scores.ndim != 2 or not len(scores):
        return None
    place = int(scores[0].argmax())
    return manifest.output.labels[place] if place < len(manifest.output.labels) else None
