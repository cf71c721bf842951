"""Desired states go down before reports are taken: nodes that have theirs report at once, and would delay the last ones.

Rules, in order:

1. While a session reads what its node should have, the messages that nodes sent wait, and so does what this process does with
   those that it took, as the view's reading. Heartbeats do not wait.
2. They wait until no session has read for `quiet_s`: then what was read has gone out.
3. They wait for at most `most_s` from the first push, and then have at least as long: pushes that never end do not stop reports.
4. A state that was handed to its stream is not waited for: a node that does not read delays no other.

Example: a wave of 2,000 nodes is written; the first of them report after 50 ms; the reports are taken after 0.7 s, when the last
desired state went down.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

REPORTS_WAIT_S = 2.0
QUIET_S = 0.1


class Pushes:
    """Of all sessions of one process.

    Args:
        most_s: for how long the messages of nodes wait at most.
        quiet_s: for how long nothing was read when they are taken.
    """

    def __init__(self, most_s: float = REPORTS_WAIT_S, quiet_s: float = QUIET_S) -> None:
        self._most_s = most_s
        self._quiet_s = quiet_s
        self._pending = 0
        self._over = asyncio.Event()  # reports are taken
        self._over.set()
        self._last_end: asyncio.TimerHandle | None = None
        self._quiet_end: asyncio.TimerHandle | None = None
        self._rests_until = 0.0  # of the loop's clock: reports have their time until then

    @contextmanager
    def pending(self) -> Iterator[None]:
        """While one session reads what it will send."""
        self._pending += 1
        self._begin()
        try:
            yield
        finally:
            self._pending -= 1
            if self._pending == 0 and not self._over.is_set():
                self._quiet_end = asyncio.get_running_loop().call_later(self._quiet_s, self._end)

    async def over(self) -> None:
        """Returns when a message of a node may be taken."""
        await self._over.wait()

    def _begin(self) -> None:
        if self._quiet_end is not None:
            self._quiet_end.cancel()
            self._quiet_end = None
        loop = asyncio.get_running_loop()
        if self._over.is_set() and loop.time() >= self._rests_until:
            self._over.clear()
            self._last_end = loop.call_later(self._most_s, self._end_at_last)

    def _end_at_last(self) -> None:
        self._rests_until = asyncio.get_running_loop().time() + self._most_s
        self._end()

    def _end(self) -> None:
        for timer in (self._quiet_end, self._last_end):
            if timer is not None:
                timer.cancel()
        self._quiet_end = self._last_end = None
        self._over.set()
