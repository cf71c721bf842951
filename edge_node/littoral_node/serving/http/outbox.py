"""Answers that are ready in one turn of the event loop, and go out together.

With many connections a turn answers many requests. Each answer that is sent by itself wakes a reader that waits on this machine,
and is sent by code that the next request's work then drives out of the cache: a sixth of what a small request costs. So the
first answer of a turn goes out at once, for most often it is the only one; those that follow wait for each other, MOST of them at
most, and never longer than to the end of the turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

MOST = 8


class Outbox:
    """Of one event loop."""

    def __init__(self) -> None:
        self._waiting: list[Callable[[], None]] = []
        self._turn = False  # it is known that this turn ends

    def holds(self, send: Callable[[], None]) -> bool:
        """True: `send` is called soon. False: it is the first in this turn, and should not wait."""
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
