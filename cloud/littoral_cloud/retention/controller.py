"""Once a day one coordinator bounds what ended. docs/retention.md says what, and by which setting.

Rules, in order:

1. Each coordinator looks once an hour whether a day is over since the last pass, which document "retention" "pass" says.
2. Who finds it over takes the lease and looks again: of several coordinators one works, and the next finds nothing due.
3. The parts run one after another. Where one fails, the log says why, the others still run, and the pass is repeated in an hour.
4. What is on a coordinator's own machine, each coordinator bounds by itself: at its first look, and once a day.
5. Each part does a bounded amount of work; what is left is for the next day.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from littoral.errors import FleetError, LostLease, Unavailable
from littoral_cloud.fleet.ledger import Change, Fence, Ledger, Write
from littoral_cloud.fleet.records import dump, load
from littoral_cloud.trust.audit_archive import LEASE

log = logging.getLogger(__name__)

KIND = "retention"
ID = "pass"
ACTOR = "retention"
DAY_S = 86_400.0
LOOK_S = 3_600.0
FIRST_LOOK_S = 60.0
"""After the start of a coordinator: nodes come back first."""

Part = Callable[[Fence], Awaitable[str]]
"""Bounds one thing, and says what it did; "": nothing was to be done."""

OwnPart = Callable[[], Awaitable[str]]
"""The same for what is on this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionPass:
    """When the last one was finished; seconds since 1970-01-01 UTC."""

    finished_at: float
    schema: int = 1


class Retention:
    """Args:
    parts: by name, for the log.
    clock: seconds since 1970-01-01 UTC.
    rng: for jitter.
    own: by name, what is bounded on this machine.
    """

    def __init__(
        self,
        ledger: Ledger,
        parts: Mapping[str, Part],
        clock: Callable[[], float],
        rng: random.Random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        *,
        own: Mapping[str, OwnPart] | None = None,
    ) -> None:
        self._own = own or {}
        self._own_at: float | None = None  # when they were done last; None: not yet
        self._sleep = sleep
        self._ledger = ledger
        self._parts = parts
        self._clock = clock
        self._rng = rng

    async def run(self) -> None:
        """Runs until it is cancelled."""
        pause_s = FIRST_LOOK_S
        while True:
            await self._sleep(pause_s * self._rng.uniform(1.0, 1.5))
            pause_s = LOOK_S
            await self.own_if_due()
            try:
                await self.pass_if_due()
            except (LostLease, Unavailable) as error:
                log.warning("retention: %s; again in an hour", error)

    async def pass_if_due(self) -> bool:
        """Whether it made a pass. Raises LostLease where another coordinator works, Unavailable."""
        if not await self._due():
            return False
        async with self._ledger.lease(LEASE) as fence:
            if not await self._due():
                return False
            whole = True
            for name, part in self._parts.items():
                whole &= await _done(name, part, fence)
            if whole:
                record = RetentionPass(finished_at=self._clock())
                await self._ledger.commit(Change((Write(KIND, ID, dump(record), None, quiet=True),)), fence=fence)
            return True

    async def own_if_due(self) -> bool:
        """Whether a day was over since what is on this machine was bounded; then it is now. What fails is in the log."""
        if self._own_at is not None and 0 <= self._clock() - self._own_at < DAY_S:
            return False
        self._own_at = self._clock()
        for name, part in self._own.items():
            try:
                if did := await part():
                    log.info("retention: %s: %s", name, did)
            except (FleetError, OSError) as error:
                log.error("retention: %s: %s; again in a day", name, error)
        return True

    async def _due(self) -> bool:
        doc = await self._ledger.get(KIND, ID)
        return doc is None or not 0 <= self._clock() - load(RetentionPass, doc).finished_at < DAY_S


async def _done(name: str, part: Part, fence: Fence) -> bool:
    try:
        if did := await part(fence):
            log.info("retention: %s: %s", name, did)
        return True
    except (LostLease, Unavailable):
        raise
    except FleetError as error:
        log.error("retention: %s: %s; again in an hour", name, error)
        return False
