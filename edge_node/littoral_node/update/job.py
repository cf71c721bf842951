"""What the steps of an update work with."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from littoral.backoff import Backoff
from littoral.budget import Budget
from littoral.manifest import Manifest
from littoral_node.artifacts.repository import Artifacts
from littoral_node.artifacts.usage import NodeUsage
from littoral_node.config.settings import NodeSettings
from littoral_node.identity.files import Damaged
from littoral_node.identity.folder import NodeFolder
from littoral_node.machine.hardware import HardwareProfile
from littoral_node.machine.overlay import widest
from littoral_node.serving.slots import Served, Slots
from littoral_node.supervision.crash_record import CrashBook
from littoral_node.supervision.watchdog import Watchdog
from littoral_node.telemetry.counting import RequestCounts, TelemetryWindows
from littoral_node.update.events import UpdateEvent
from littoral_node.update.evidence import Trial
from littoral_node.update.journal import UpdateJournal
from littoral_node.update.state import Update

_BACKOFF = Backoff(0.5, 30.0)


@dataclass(slots=True, kw_only=True)
class Kit:
    """What the updates, the benchmarks and the offload of this agent share."""

    settings: NodeSettings
    folder: NodeFolder
    artifacts: Artifacts
    slots: Slots
    counters: TelemetryWindows
    hardware: Callable[[], HardwareProfile]  # called once requests are answered
    threads: int  # of one inference
    monotonic: Callable[[], float]
    clock: Callable[[], float]  # seconds since 1970-01-01 UTC
    rng: random.Random
    log: Callable[..., None]
    damaged: Damaged
    hindrance: Callable[[], str] = lambda: ""  # what keeps the node from an update now; "": nothing
    crashes: CrashBook = field(init=False)
    watchdog: Watchdog = field(init=False)
    usage: NodeUsage = field(init=False)

    def __post_init__(self) -> None:
        self.crashes = CrashBook(self.folder.root / "crashes.json", self.log, self.damaged)
        self.watchdog = Watchdog(self.settings.inference_limit, self.crashes.hung)
        limits, budgets = self.settings.limits, self.settings.node_budgets()
        self.usage = NodeUsage(self.folder, limits, budgets, self.slots, self.artifacts, self.log, self.damaged)

    async def pause(self, pauses: int) -> None:
        """Exponential backoff with full jitter; `pauses`: how many came before."""
        await asyncio.sleep(_BACKOFF.pause_s(pauses, self.rng))

    def budget_for(self, model: str) -> Budget:
        """The widest that may ever hold."""
        budgets = self.settings.node_budgets()
        return widest(budgets.get(model) or budgets[""], tuple(self.settings.overlays().values()))


@dataclass(slots=True)
class Job:
    """One update under way. What is loaded lives here alone: after a crash it is loaded again."""

    update: Update
    journal: UpdateJournal
    kit: Kit
    trial: Trial
    candidate: Served | None = None  # loaded and right on the probe; belongs to the slots once it is swapped in
    swapped: bool = False
    counted: RequestCounts = field(default_factory=RequestCounts)  # when it was swapped in

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
