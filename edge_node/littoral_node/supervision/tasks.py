"""The agent's tasks: each runs until the agent stops, and starts again after it crashes, so that the node answers requests."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

_AGAIN_S = 5.0

Work = Callable[[], Awaitable[None]]


async def run_until(
    stop: asyncio.Event, works: Mapping[str, Work], log: Callable[..., None], stopping: Callable[[], Any]
) -> None:
    """Runs all of them, by name, until `stop` is set; then calls `stopping` and cancels them."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_restarted(name, work, log), name=name) for name, work in works.items()]
        await stop.wait()
        stopping()
        for task in tasks:
            task.cancel()


async def _restarted(name: str, work: Work, log: Callable[..., None]) -> None:
    while True:
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - the boundary between the tasks and serving
            traceback.print_exc()
            log("part-failed", part=name, detail=f"{type(error).__name__}: {error}")
        await asyncio.sleep(_AGAIN_S)
