"""The shell of every controller of the coordinator: it calls `advance` when something was written, and never polls.

Rules, in order:

1. Only the holder of the controller's lease advances; the lease's fence goes with each write.
2. It subscribes first and looks at everything next, so that nothing that is written in between is missed.
3. Then it waits for an announcement, or for the time that `advance` asked for.
4. After an announcement it waits `coalesce_s` more, so that what is written together is handled together.
5. After a conflict, after a lost lease, or while Redis is away, it backs off and starts again at rule 1. `advance` needs nothing
   then but the ledger.
6. One that decides from a view is woken by the view, once that holds what was written.

Example: a wave of 50 nodes reports success within 0.1 s. One `advance` reads them all and starts the next wave.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from littoral.backoff import Backoff
from littoral.errors import Conflict, Unavailable
from littoral_cloud.fleet.ledger import Announcement, AnnouncementFeed, Fence, Ledger, news_within
from littoral_cloud.fleet.view import FleetView

log = logging.getLogger(__name__)

MAX_SLEEP_S = 60.0
"""Then it looks at the clock again: a wall clock may have been set, and a machine may have slept."""
BACKOFF = Backoff(1.0, 5.0)
_AFTER_DUE_S = 0.01  # clocks are coarse: a wake-up must not come before its time

News = frozenset[Announcement] | None
"""What was announced; None: anything may have changed."""


@dataclass(frozen=True, slots=True)
class ControllerSpec:
    """What wakes a controller. `name`: for the log; `kinds`: of documents."""

    name: str
    lease: str
    kinds: tuple[str, ...]
    coalesce_s: float = 0.1


async def keep_advancing(
    ledger: Ledger,
    watch: ControllerSpec,
    advance: Callable[[News, Fence], Awaitable[float]],
    clock: Callable[[], float],
    rng: random.Random,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    *,
    view: FleetView | None = None,
) -> None:
    """Runs until it is cancelled.

    Args:
        advance: takes every step that can be taken now; gives the time of the next look without news, infinite for none. Where
            that time came, its news are empty; where anything may have changed, None.
        clock: seconds since 1970-01-01 UTC.
        rng: for jitter.
    """
    failures = 0
    while True:
        try:
            async with ledger.lease(watch.lease) as fence, (view or ledger).watch(*watch.kinds) as announcements:
                if view is not None:
                    await view.ready()
                news: News = None
                while True:
                    due = await advance(news, fence)
                    failures = 0
                    within_s = min(max(due - clock(), 0.0) + _AFTER_DUE_S, MAX_SLEEP_S)
                    news = await _next(announcements, within_s, watch.coalesce_s)
        except (Conflict, Unavailable) as error:
            pause_s = BACKOFF.pause_s(failures, rng)
            log.warning("%s: %s; again in %.2f s", watch.name, error, pause_s)
            failures += 1
            await sleep(pause_s)


async def _next(announcements: AnnouncementFeed, within_s: float, coalesce_s: float) -> News:
    if not await news_within(announcements, within_s):
        return frozenset()
    await asyncio.sleep(coalesce_s)
    heard = announcements.drain()
    return None if any(not each.id for each in heard) else heard  # no id: everything may have changed
