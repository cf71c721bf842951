"""What the steps of an update work with, and how a step reports what came of it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from littoral.budget import Budget
from littoral.manifest import Manifest
from littoral_node.artifacts.repository import Artifacts
from littoral_node.artifacts.usage import NodeUsage
from littoral_node.identity.files import Damaged, ignore_damage
from littoral_node.machine.hardware import HardwareProfile
from littoral_node.serving.slots import Served, Slots
from littoral_node.supervision.crash_record import CrashBook
from littoral_node.supervision.watchdog import Watchdog
from littoral_node.update.events import UpdateEvent
from littoral_node.update.journal import UpdateJournal
from littoral_node.update.state import Update


class Counters(Protocol):
    """What probation asks of telemetry."""

    def counters(self, model: str) -> tuple[int, int]:
        """(requests, failed requests) since the start; both only grow."""
        ...

    def turned_away(self, model: str) -> int:
        """Requests since the start that only the model on trial refused."""
        ...


@dataclass(frozen=True, slots=True)
class RequestCounts:
    """Of one model since the start of the agent."""

    requests: int = 0
    failed: int = 0
    turned_away: int = 0

    @classmethod
    def of(cls, counters: Counters, model: str) -> RequestCounts:
        return cls(*counters.counters(model), counters.turned_away(model))


@dataclass(frozen=True, slots=True)
class Kit:
    """What all updates of this agent share. `labelled`: folder of labelled examples, None: the node holds none."""

    artifacts: Artifacts
    slots: Slots
    counters: Counters
    crashes: CrashBook
    watchdog: Watchdog
    hardware: Callable[[], HardwareProfile]  # looked at once requests are answered
    budgets: Mapping[str, Budget]  # by model name, the widest that may ever hold; "" for the models that are not named
    usage: NodeUsage
    labelled: Path | None
    threads: int
    limit_s: float  # what one inference may take
    monotonic: Callable[[], float]
    rng: random.Random
    log: Callable[..., None]
    damaged: Damaged = ignore_damage
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    def budget_for(self, model: str) -> Budget:
        return self.budgets.get(model) or self.budgets.get("") or Budget()


@dataclass(slots=True)
class Job:
    """One update under way. What is loaded lives here alone: after a crash it is loaded again."""

    update: Update
    journal: UpdateJournal
    kit: Kit
    candidate: Served | None = None  # loaded and right on the probe; belongs to the slots once it is swapped in
    swapped: bool = False
    counted: RequestCounts = RequestCounts()  # when it was swapped in

    async def manifest(self) -> Manifest:
        return await self.kit.artifacts.manifest(self.update.manifest_digest)

    async def release(self) -> None:
        """Closes what was loaded for this job and does not serve."""
        loose = self.candidate if not self.swapped else None
        self.candidate = None
        if loose is not None:
            await asyncio.to_thread(loose.model.close)


Step = Callable[[Job], Awaitable[UpdateEvent]]

T = TypeVar("T")


async def in_thread(work: Callable[[], T], undo: Callable[[T], None] | None = None) -> T:
    """Runs blocking work beside the event loop, and never leaves it running: a cancellation waits until it is done.

    Args:
        undo: what to do with a result whose caller is cancelled.
    """
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        if undo is not None and not running.cancelled() and running.exception() is None:
            await asyncio.to_thread(undo, running.result())
        raise
