"""A worker that is started when a call needs it, and again when it has ended since."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from littoral.backoff import Backoff
from littoral.errors import FleetError
from littoral.process.aio import AsyncWorker
from littoral.process.frames import Array, Arrays

_LONGEST_PAUSE_S = 60.0


class OnDemand:
    """After a start that failed, calls fail with the same error until a pause is over; only then one of them starts it again.

    Args:
        start: starts the worker and gives it once it is ready.
        pause_s: the first pause; it doubles with each failed start in a row, to a minute at most. 0: there is none.
    """

    def __init__(self, start: Callable[[], Awaitable[AsyncWorker]], *, pause_s: float = 0.0) -> None:
        self._start = start
        self._backoff = Backoff(pause_s, _LONGEST_PAUSE_S)
        self._turn = asyncio.Lock()
        self._worker: AsyncWorker | None = None
        self._failure: FleetError | None = None
        self._failures = 0  # starts in a row
        self._next_start = 0.0  # not before, on the loop's clock
        self._ends = 0

    @property
    def ready(self) -> bool:
        """A call is answered without waiting for a start."""
        return self._worker is not None and self._worker.alive

    @property
    def failed(self) -> bool:
        """The last start did."""
        return self._failure is not None

    @property
    def pid(self) -> int | None:
        return self._worker.pid if self._worker is not None and self._worker.alive else None

    async def begin(self) -> AsyncWorker:
        """The worker, ready. Raises what `start` raises."""
        async with self._turn:
            if self._worker is not None and self._worker.alive:
                return self._worker
            now = asyncio.get_running_loop().time
            if self._failure is not None and now() < self._next_start:
                raise type(self._failure)(self._failure.message, hint=self._failure.hint)
            self.end()
            ends = self._ends
            try:
                worker = await self._start()
            except FleetError as error:
                self._failure = error
                self._next_start = now() + self._backoff.bound_s(self._failures)
                self._failures += 1
                raise
            self._failure, self._failures = None, 0
            if ends != self._ends:  # `end` came meanwhile: a call on this one says so
                worker.end()
            self._worker = worker
            return worker

    async def call(
        self, head: Mapping[str, Any], arrays: Arrays, *, limit_s: float | None
    ) -> tuple[dict[str, Any], dict[str, Array]]:
        """As AsyncWorker.call; raises what `start` raises, too."""
        return await (await self.begin()).call(head, arrays, limit_s=limit_s)

    def end(self) -> None:
        """Ends the worker and gives its memory back; the next call starts one."""
        self._ends += 1
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.end()
