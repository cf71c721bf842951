"""A command that is started again when it ends by itself: after a pause, as a supervisor does it, and not for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from littoral.backoff import Backoff
from littoral.errors import FleetError
from littoral.process.command import Command
from littoral.process.limits import how_ended


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """Restarts at most `most` times within `within_s`. The first pause is `pause_s`, and each one is twice the one before."""

    most: int = 5
    within_s: float = 600.0
    pause_s: float = 1.0

    def pause(self, ends: Sequence[float], now: float) -> float | None:
        """Seconds before the next start. None: there is none, it has ended too often.

        Args:
            ends: when it ended, the last time included; seconds of the same clock as `now`.
        """
        lately = sum(now - self.within_s < at for at in ends)
        return None if lately > self.most else Backoff(self.pause_s, self.within_s).bound_s(max(0, lately - 1))


class SupervisedCommand:
    """Args:
    start: starts the command; called again for each new start.
    report: called with a message about each end and each new start.
    """

    def __init__(
        self, start: Callable[[], Awaitable[Command]], report: Callable[[str], None], policy: RestartPolicy | None = None
    ) -> None:
        self._start = start
        self._report = report
        self._policy = policy or RestartPolicy()
        self._command: Command | None = None

    async def begin(self) -> str:
        """Its line when it is ready. Raises CommandFailed where it does not become so."""
        self._command = await self._start()
        return await self._command.ready_line()

    async def supervise(self) -> str:
        """Returns once it has ended too often, and says how."""
        ends: list[float] = []
        while self._command is not None:
            code = await self._command.ended()
            command, now = self._command, asyncio.get_running_loop().time()
            ends.append(now)
            what = f"{command.name}: ended by itself with {how_ended(code)}"
            if (pause_s := self._policy.pause(ends, now)) is None:
                return f"{what}, {len(ends)} times now: {command.last_words()}"
            self._report(f"{what}; started again in {pause_s:g} s")
            await asyncio.sleep(pause_s)
            try:
                await self.begin()
                self._report(f"{command.name}: runs again")
            except FleetError as error:
                self._report(error.message)
                await self._command.end()  # one that hangs in its start has not ended
        return "it was never started"

    async def end(self) -> None:
        if self._command is not None:
            await self._command.end()
