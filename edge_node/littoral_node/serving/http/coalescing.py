"""Sends the answers of one turn of the event loop together.

With many connections one turn answers many requests. To send each answer by itself wakes a reader on this machine, and the code
that sends pushes the next request's code out of the cache: a sixth of the cost of a small request.

1. The first answer of a turn goes out at once. Most often it is the only one.
2. The next ones wait for each other: until there are MOST of them, and never longer than to the end of the turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

MOST = 8


class Coalescer:
    """Of one event loop."""

    def __init__(self) -> None:
        self._waiting: list[Callable[[], None]] = []
        self._turn = False  # the end of this turn is scheduled

    def coalesce(self, send: Callable[[], None]) -> bool:
        """True: `send` is called soon. False: it is the first in this turn, and the caller sends at once."""
        if not self._turn:
            self._turn = True
            asyncio.get_running_loop().call_soon(self._end_of_turn)
            return False
        self._waiting.append(send)
        if len(self._waiting) == MOST:
            self._send()
        return True

    def _end_of_turn(self) -> None:
        self._turn = False
        self._send()

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, []
        for send in waiting:
            send()
