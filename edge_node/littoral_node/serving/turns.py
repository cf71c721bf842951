"""Whose turn it is: requests that one connection sent in a row are answered between those of others.

The first request that is there is answered where it came in. What the same connection sent behind it, one request or a few
hundred chunks of a body at a time, takes its turn with every other connection's: in TURN_S together, then the event loop looks at
what else has come.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

TURN_S = 0.005


class Turns:
    """Of one event loop."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._waiting: deque[Callable[[], None]] = deque()
        self._due = False

    def later(self, go_on: Callable[[], None]) -> None:
        """Calls `go_on` once, behind those who wait already."""
        self._waiting.append(go_on)
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._run)

    def _run(self) -> None:
        until = self._monotonic() + TURN_S
        try:
            while self._waiting:
                self._waiting.popleft()()
                if self._monotonic() >= until:
                    break
        finally:  # a bug in one connection is that one's alone
            self._due = bool(self._waiting)
            if self._due:
                asyncio.get_running_loop().call_soon(self._run)
