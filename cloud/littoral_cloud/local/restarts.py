"""A process of ours that is started again where it ends by itself: after a pause, as a supervisor would, and not for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from littoral.child import how_ended
from littoral.errors import FleetError
from littoral_cloud.local.processes import Child


@dataclass(frozen=True, slots=True)
class Patience:
    """So many ends in so many seconds are followed by a new start: the first after `pause_s`, the next after twice that."""

    most: int = 5
    within_s: float = 600.0
    pause_s: float = 1.0

    def pause(self, ends: Sequence[float], now: float) -> float | None:
        """Before the next start. None: there is none, it has ended too often.

        Args:
            ends: when it ended, the last time included; seconds of the same clock as `now`.
        """
        lately = sum(now - self.within_s < at for at in ends)
        return None if lately > self.most else self.pause_s * 2 ** max(0, lately - 1)


class Lasting:
    """Args:
    start: starts the process; called again for each new start.
    tell: what is said of ends and new starts.
    """

    def __init__(
        self, start: Callable[[], Awaitable[Child]], tell: Callable[[str], None], patience: Patience | None = None
    ) -> None:
        self._start = start
        self._tell = tell
        self._patience = patience or Patience()
        self._child: Child | None = None

    async def begin(self) -> str:
        """What it says when it is ready. Raises FleetError where it does not become so."""
        self._child = await self._start()
        return await self._child.ready_line()

    async def last(self) -> str:
        """Returns once it has ended too often, saying so."""
        ends: list[float] = []
        while self._child is not None:
            code = await self._child.ended()
            child, now = self._child, asyncio.get_running_loop().time()
            ends.append(now)
            what = f"{child.name}: ended by itself with {how_ended(code)}"
            if (pause_s := self._patience.pause(ends, now)) is None:
                return f"{what}, {len(ends)} times now: {child.last_words()}"
            self._tell(f"{what}; started again in {pause_s:g} s")
            await asyncio.sleep(pause_s)
            await child.end()  # what it printed is in the log
            try:
                await self.begin()
                self._tell(f"{child.name}: is there again")
            except FleetError as error:
                self._tell(error.message)
                await self._child.end()  # one that hangs in its start has not ended
        return "it was never begun"

    async def end(self) -> None:
        if self._child is not None:
            await self._child.end()
