"""Work of a session that is not always there: a task while there is some, nothing at rest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class SessionHelper:
    """Args:
    work: returns when there is nothing more to do.
    failed: gets the error that it ended with.
    """

    __slots__ = ("_failed", "_task", "_work")

    def __init__(self, work: Callable[[], Coroutine[Any, Any, None]], failed: Callable[[BaseException], None]) -> None:
        self._work = work
        self._failed = failed
        self._task: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """There is work."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())
            self._task.add_done_callback(self._ended)

    async def idle(self) -> None:
        """Returns when it has nothing to do."""
        if self._task is not None:
            await asyncio.wait({self._task})

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task is self._task:
            self._task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error)
