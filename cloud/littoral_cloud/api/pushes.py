"""Desired states go down before reports are taken: nodes that have theirs report at once, and would delay the last ones.

Rules, in order:

1. While a session reads what its node should have, the messages that nodes sent wait; heartbeats do not.
2. They wait until no session reads any more, and for at most `most_s` from the first one that began: pushes that never end do not
   stop reports. The next such time begins when no session had anything to read.
3. A state that was handed to its stream is not waited for: a node that does not read delays no other.

Example: a wave of 2,000 nodes is written; the first of them report after 50 ms; the reports are taken after 0.7 s, when the last
desired state went down.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

REPORTS_WAIT_S = 1.0


class Pushes:
    """Of all sessions of one process.

    Args:
        most_s: for how long the messages of nodes wait at most.
    """

    def __init__(self, most_s: float = REPORTS_WAIT_S) -> None:
        self._most_s = most_s
        self._pending = 0
        self._over = asyncio.Event()  # reports are taken
        self._over.set()
        self._latest: asyncio.TimerHandle | None = None

    @contextmanager
    def pending(self) -> Iterator[None]:
        """While one session reads what it will send."""
        if self._pending == 0:
            self._over.clear()
            self._latest = asyncio.get_running_loop().call_later(self._most_s, self._over.set)
        self._pending += 1
        try:
            yield
        finally:
            self._pending -= 1
            if self._pending == 0:
                self._over.set()
                if self._latest is not None:
                    self._latest.cancel()

    async def over(self) -> None:
        """Returns when a message of a node may be taken."""
        await self._over.wait()
