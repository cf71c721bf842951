"""Nodes between their connection and their Welcome: one line of a process, in the order of their hellos (fleet/turns.py)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, nullcontext
from itertools import chain
from typing import TYPE_CHECKING

from littoral_cloud.api.pushes import Pushes
from littoral_cloud.fleet.sessions import Reason, SessionRefusal
from littoral_cloud.fleet.turns import AT_ONCE, WelcomePace, after_welcome, next_turn

if TYPE_CHECKING:
    from littoral_cloud.api.session import CoordinatorSession


class GreetingLine:
    """Args:
    pushes: what nodes report waits also while there is a line.
    """

    def __init__(self, pushes: Pushes) -> None:
        self._pushes = pushes
        self._waiting: dict[str, set[CoordinatorSession]] = {}  # by node: one that connects again and again is one
        self._doors = asyncio.Semaphore(AT_ONCE)
        self._pace = WelcomePace()
        self._last_turn = 0.0  # by the event loop's clock: what the last one got that was sent away

    def busy(self) -> SessionRefusal | None:
        """Why no more nodes may wait now; each refusal names another time to come back."""
        now, waiting = asyncio.get_running_loop().time(), len(self)
        if (turn := next_turn(waiting, self._last_turn, now, self._pace)) is None:
            return None
        self._last_turn = turn
        detail = f"{waiting} nodes wait for this coordinator's Welcome at this moment: there is a turn for you"
        return SessionRefusal(Reason.UNAVAILABLE, detail, turn - now)

    def join(self, session: CoordinatorSession) -> None:
        """It has connected."""
        self._waiting.setdefault(session.peer.node_id, set()).add(session)

    def leave(self, session: CoordinatorSession) -> None:
        """It has its Welcome, or was sent away. May be called twice."""
        waiting = self._waiting.get(session.peer.node_id, set())
        waiting.discard(session)
        if not waiting:
            self._waiting.pop(session.peer.node_id, None)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """For what a hello reads and writes: a node that is slow to read or to answer waits outside."""
        async with self._doors:
            with self._pushes.pending() if self._doors.locked() else nullcontext():
                yield

    def welcomed(self, session: CoordinatorSession) -> None:
        """In its turn: its Welcome is ready."""
        self.leave(session)
        now = asyncio.get_running_loop().time()
        self._pace = after_welcome(self._pace, now, others_wait=self._doors.locked())

    def __len__(self) -> int:
        """Nodes."""
        return len(self._waiting)

    def of(self, node_id: str) -> Iterable[CoordinatorSession]:
        return self._waiting.get(node_id, ())

    def all(self) -> Iterable[CoordinatorSession]:
        return chain.from_iterable(self._waiting.values())
