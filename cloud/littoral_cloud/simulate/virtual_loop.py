"""An event loop whose time is virtual: where every task waits, the clock jumps to the next timer. A day passes in seconds.

Nothing in it waits for the world outside: no socket, no thread, no process. Work for a thread is done at once, in the loop's own
thread, and takes no virtual time.
"""

from __future__ import annotations

import asyncio
import gc
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from littoral.errors import FleetError

T = TypeVar("T")

RESOLUTION_S = 1e-6
"""Larger than the distance of two floats near the present time: a timer that is due now must count as due."""


class _Timers(selectors.SelectSelector):
    """In place of waiting for files, it lets the time pass."""

    def __init__(self, start: float) -> None:
        super().__init__()
        self.now = start

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise FleetError("simulation: every task waits, and no timer is set: nothing will ever happen again")
        if timeout > 0:
            self.now += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Args:
    start: what `time` gives at first; seconds.
    """

    def __init__(self, start: float) -> None:
        self._timers = _Timers(start)
        super().__init__(self._timers)
        self._clock_resolution = RESOLUTION_S

    def time(self) -> float:
        return self._timers.now

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        done: asyncio.Future[T] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - the caller gets it, as from a thread
            done.set_exception(error)
        return done


def run_virtually(work: Coroutine[Any, Any, T], start: float) -> T:
    """Runs until the work is done.

    Args:
        start: seconds since 1970-01-01 UTC: the first moment of the virtual time, which is the loop's.

    Raises FleetError where nothing can happen any more, and what the work raises. Ctrl-C cancels the work: KeyboardInterrupt.
    """
    collects = gc.isenabled()
    gc.disable()  # the millions of objects of a large fleet live until the end: to look through them costs a third of the time
    try:
        with asyncio.Runner(loop_factory=lambda: VirtualLoop(start)) as runner:
            return runner.run(work)
    finally:
        if collects:
            gc.enable()
        gc.collect()
