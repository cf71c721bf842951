"""Micro-batches: requests that wait for one model anyway go through it together.

1. No request is delayed to make a batch. One that comes alone runs at once. One that comes during a run, or in the same turn
   of the event loop as another, waits; all that wait are the next run.
2. Whether a batch pays depends on the model, and whether it is correct too: a first dimension may be free and yet be no
   batch. So the first few runs are done in both ways, one by one and together, and give the answers of one by one.
3. Only where both ways give the same answers, and together is cheaper, later runs are done together.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from littoral.errors import FleetError

BATCH_FROM_S = 0.000_2
"""Models whose example costs less are never put together: waiting for each other costs 0.03 ms, more than what would be saved."""
TRIALS = 3
WORTH = 0.9
"""Of the time one by one, at most, for together to be worth it."""
_RTOL, _ATOL = 1e-4, 1e-4
"""Of the largest value: other sizes of a product are summed in another order."""

Array = np.ndarray[Any, np.dtype[Any]]
Feeds = Mapping[str, Array]
Result = Feeds | BaseException


@dataclass(eq=False, slots=True)
class BatchEntry:
    """One request's inputs, each (n, ...)."""

    feeds: Feeds
    examples: int
    answer: asyncio.Future[Feeds]

    @property
    def kind(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """Only what has the same sizes behind the first goes together."""
        return tuple((name, array.shape[1:]) for name, array in self.feeds.items())


@dataclass(eq=False, slots=True)
class Merger:
    """One loaded model, which may run several entries at once; may be called in another thread, by one at a time.

    Args:
        infer: (n, ...) inputs to (n, ...) outputs by name; raises FleetError.
    """

    infer: Callable[[Feeds, int], Feeds]
    clock: Callable[[], float] = time.thread_time
    together: bool | None = None  # None: not known yet
    _trials: int = 0
    _spent: list[float] = field(default_factory=lambda: [0.0, 0.0])

    def run(self, entries: Sequence[BatchEntry]) -> list[Result]:
        """An answer or an error for each: one that fails takes no other along."""
        if len(entries) > 1 and self.together:
            try:
                return list(self._merged(entries))
            except FleetError:
                return self._one_by_one(entries)
        if len(entries) > 1 and self.together is None:
            return self._both(entries)
        return self._one_by_one(entries)

    def _both(self, entries: Sequence[BatchEntry]) -> list[Result]:
        began = self.clock()
        single = self._one_by_one(entries)
        between = self.clock()
        if any(isinstance(result, BaseException) for result in single):
            return single
        try:
            agreed = all(map(_same, single, self._merged(entries)))
        except FleetError:
            agreed = False
        self._spent[0] += between - began
        self._spent[1] += self.clock() - between
        self._trials += 1
        if not agreed:
            self.together = False
        elif self._trials == TRIALS:
            self.together = self._spent[1] <= WORTH * self._spent[0]
        return single

    def _one_by_one(self, entries: Sequence[BatchEntry]) -> list[Result]:
        results: list[Result] = []
        for entry in entries:
            try:
                results.append(self.infer(entry.feeds, entry.examples))
            except Exception as error:  # noqa: BLE001 - of this request alone
                results.append(error)
        return results

    def _merged(self, entries: Sequence[BatchEntry]) -> list[Feeds]:
        examples = sum(entry.examples for entry in entries)
        feeds = {name: np.concatenate([entry.feeds[name] for entry in entries]) for name in entries[0].feeds}
        answers = self.infer(feeds, examples)
        for name, values in answers.items():
            if values.ndim == 0 or len(values) != examples:
                raise FleetError(f"output {name}: is {values.shape} for {examples} examples")
        found: list[Feeds] = []
        at = 0
        for entry in entries:
            found.append({name: values[at : at + entry.examples] for name, values in answers.items()})
            at += entry.examples
        return found


def _same(one: Result, other: Feeds) -> bool:
    if isinstance(one, BaseException) or one.keys() != other.keys():
        return False
    return all(_close(values, other[name]) for name, values in one.items())


def _close(one: Array, other: Array) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if one.dtype.kind != "f":
        return bool((one == other).all())
    most = float(np.abs(one).max(initial=0.0))
    return bool(np.allclose(one, other, rtol=_RTOL, atol=_ATOL * most, equal_nan=True))


class Batcher:
    """The queue of one loaded model, in one event loop.

    Args:
        most: examples in one run.
        long: whether a run of this number of examples leaves the loop.
        in_thread: runs it there.
    """

    def __init__(
        self,
        merger: Merger,
        most: int,
        *,
        long: Callable[[int], bool],
        in_thread: Callable[[Callable[[], list[Result]]], Awaitable[list[Result]]],
    ) -> None:
        self._merger = merger
        self._most = most
        self._long = long
        self._in_thread = in_thread
        self._waiting: list[BatchEntry] = []
        self._running: asyncio.Task[None] | None = None
        self._hot = self._due = False

    @property
    def pays(self) -> bool:
        """False once it was seen that this model is better left alone."""
        return self._merger.together is not False

    async def run(self, feeds: Feeds, examples: int) -> Feeds:
        """Raises what the model's `infer` raises."""
        loop = asyncio.get_running_loop()
        entry = BatchEntry(feeds, examples, loop.create_future())
        alone = not (self._waiting or self._running or self._hot)
        if alone and not self._long(examples):
            [result] = self._merger.run([entry])
            self._heat(loop)
            if isinstance(result, BaseException):
                raise result
            return result
        self._waiting.append(entry)
        if alone:
            self._flush()
        else:
            self._flush_soon(loop)
        try:
            return await entry.answer
        except asyncio.CancelledError:
            if self._running is not None and entry not in self._waiting:
                await asyncio.wait([self._running])  # the model must outlive its use
            raise

    def _heat(self, loop: asyncio.AbstractEventLoop) -> None:
        """Until the loop has done what it had before it when this was called: who comes until then came at the same time."""
        self._hot = True
        loop.call_soon(self._cool)

    def _cool(self) -> None:
        self._hot = False

    def _flush_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._due and self._running is None:
            self._due = True
            loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._due = False
        if self._running is not None or not (entries := self._taken()):
            return
        loop = asyncio.get_running_loop()
        if self._long(sum(entry.examples for entry in entries)):
            self._running = loop.create_task(self._beside(entries), name="a batch")
            return
        _settle(entries, self._merger.run(entries))
        self._heat(loop)
        if self._waiting:
            self._flush_soon(loop)

    async def _beside(self, entries: list[BatchEntry]) -> None:
        try:
            _settle(entries, await self._in_thread(lambda: self._merger.run(entries)))
        except BaseException as error:  # no thread, or the loop ends
            _settle(entries, [error] * len(entries))
            raise
        finally:
            self._running = None
            if self._waiting:
                self._flush_soon(asyncio.get_running_loop())

    def _taken(self) -> list[BatchEntry]:
        """The first that waits, and all that may go with it."""
        self._waiting = [entry for entry in self._waiting if not entry.answer.done()]
        taken: list[BatchEntry] = []
        rest: list[BatchEntry] = []
        examples = 0
        for entry in self._waiting:
            fits = not taken or (examples + entry.examples <= self._most and entry.kind == taken[0].kind)
            (taken if fits else rest).append(entry)
            examples += entry.examples if fits else 0
        self._waiting = rest
        return taken


def _settle(entries: Sequence[BatchEntry], results: Sequence[Result]) -> None:
    for entry, result in zip(entries, results, strict=True):
        if entry.answer.done():
            continue
        if isinstance(result, asyncio.CancelledError):
            entry.answer.cancel()
        elif isinstance(result, BaseException):
            entry.answer.set_exception(result)
        else:
            entry.answer.set_result(result)
