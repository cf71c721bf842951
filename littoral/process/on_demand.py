"""A worker that is started when a call needs it, and again when it has ended since."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from littoral.errors import FleetError
from littoral.process.aio import AsyncWorker
from littoral.process.frames import Array, Arrays


class OnDemand:
    """Args:
    start: starts the worker and gives it once it is ready.
    """

    def __init__(self, start: Callable[[], Awaitable[AsyncWorker]]) -> None:
        self._start = start
        self._starting = asyncio.Lock()
        self._worker: AsyncWorker | None = None
        self.failed = False  # the last start did

    @property
    def ready(self) -> bool:
        """A call is answered without waiting for a start."""
        return self._worker is not None and self._worker.alive

    @property
    def pid(self) -> int | None:
        return self._worker.pid if self._worker is not None and self._worker.alive else None

    async def begin(self) -> AsyncWorker:
        """The worker, ready. Raises what `start` raises; the next call tries again."""
        async with self._starting:
            if self._worker is None or not self._worker.alive:
                self.end()
                try:
                    self._worker = await self._start()
                except FleetError:
                    self.failed = True
                    raise
                self.failed = False
            return self._worker

    async def call(
        self, head: Mapping[str, Any], arrays: Arrays, *, limit_s: float | None
    ) -> tuple[dict[str, Any], dict[str, Array]]:
        """As AsyncWorker.call; raises what `start` raises, too."""
        return await (await self.begin()).call(head, arrays, limit_s=limit_s)

    def end(self) -> None:
        """Ends the worker and gives its memory back; the next call starts one."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.end()
