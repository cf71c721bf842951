"""How late the event loop is: while one thing takes the processor, all others wait."""

from __future__ import annotations

import asyncio

from littoral_cloud.counting.durations import Durations

INTERVAL_S = 0.25


class LoopDelay:
    """Four times a second, how much later than asked this task was woken."""

    def __init__(self) -> None:
        self.seen = Durations()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + INTERVAL_S
            await asyncio.sleep(INTERVAL_S)
            self.seen.add(max(0.0, loop.time() - due))
