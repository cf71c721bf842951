"""Lets connections take turns: requests that one connection sent in a row are answered between those of the others.

1. The first request that has arrived is answered at once.
2. What the same connection sent behind it, one request or some hundred chunks of a body at a time, waits in one queue with what
   every other connection sent.
3. The queue runs for TURN_S, then the event loop looks for new input.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

TURN_S = 0.005


class FairQueue:
    """Of one event loop."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._waiting: deque[Callable[[], None]] = deque()
        self._due = False

    def later(self, resume: Callable[[], None]) -> None:
        """Calls `resume` once, behind those that wait already."""
        self._waiting.append(resume)
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
        finally:  # an error in one connection does not stop the others
            self._due = bool(self._waiting)
            if self._due:
                asyncio.get_running_loop().call_soon(self._run)
