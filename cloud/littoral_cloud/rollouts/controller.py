"""The shell around `next_actions`: looks at a rollout when something changed that can move it, decides, and commits with the
lease's fence. littoral_cloud/rollouts/attention.py says what can move it."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable

from littoral.errors import Conflict, FleetError, LostLease, Unavailable
from littoral_cloud.fleet.controller import ControllerSpec, News, keep_advancing
from littoral_cloud.fleet.ledger import Announcement, Change, Fence, Ledger
from littoral_cloud.rollouts.attention import Attention
from littoral_cloud.rollouts.convert import convert_older
from littoral_cloud.rollouts.decide import Decision, next_actions
from littoral_cloud.rollouts.events import Waits
from littoral_cloud.rollouts.seen import NODE_KINDS, RolloutView
from littoral_cloud.rollouts.seen_fleet import SeenFleet
from littoral_cloud.rollouts.state import KIND

log = logging.getLogger(__name__)

WATCH = ControllerSpec("rollouts", "rollouts", (KIND, "release", "artifact", "measurement", *NODE_KINDS))
_ITS_KINDS = (KIND, "release", "artifact")


class Controller:
    """Args:
    fleet: what the decisions are made from.
    clock: seconds since 1970-01-01 UTC.
    rng: for jitter.
    """

    def __init__(self, ledger: Ledger, fleet: SeenFleet, clock: Callable[[], float], rng: random.Random) -> None:
        self._ledger = ledger
        self._fleet = fleet
        self._clock = clock
        self._rng = rng
        self._attention: dict[str, Attention | None] = {}  # by rollout; None: it cannot go on, or has just moved

    async def run(self) -> None:
        """Runs until it is cancelled."""
        await keep_advancing(self._ledger, WATCH, self._advance, self._clock, self._rng, view=self._fleet.view)

    async def _advance(self, news: News, fence: Fence) -> float:
        return await self.advance(fence, news)

    async def advance(self, fence: Fence | None, news: News = None) -> float:
        """Takes every step that can be taken now; gives the time at which there may be another without news."""
        live = self._fleet.live_rollouts()
        if news is None:
            self._attention = {}
            await convert_older(self._ledger, self._fleet.view, fence)
        due = [id for id in live if self._is_due(id, news or frozenset())]
        while due:
            due = [id for id in due if await self._moves(id, fence)]
        self._attention = {id: attention for id, attention in self._attention.items() if id in live}
        return min((each.until for each in self._attention.values() if each), default=float("inf"))

    def _is_due(self, rollout_id: str, news: frozenset[Announcement]) -> bool:
        if rollout_id not in self._attention:
            return True
        attention = self._attention[rollout_id]
        if attention is None:  # it could not be looked at
            return any(each.kind in _ITS_KINDS for each in news)
        return attention.is_due(news, self._clock())

    async def _moves(self, rollout_id: str, fence: Fence | None) -> bool:
        """Looks at one rollout, and makes one move where there is one: then another look is due."""
        self._attention[rollout_id] = None
        try:
            seen = self._fleet.of(rollout_id)
            still = seen.standing_still() if seen.is_long else seen
            decision = await self._decision(still)
            if isinstance(decision, Waits):
                self._attention[rollout_id] = Attention.after(seen, decision)
                return False
            if await self._committed(decision.changes(still), fence) and decision.rollout.state is not seen.rollout.state:
                log.info("rollout %s: %s", rollout_id, decision.rollout.state)
        except (LostLease, Unavailable):
            raise
        except FleetError as error:
            log.error("rollout %s: cannot go on: %s", rollout_id, error)
            return False
        return rollout_id in self._fleet.live_rollouts()

    async def _committed(self, changes: Iterable[Change], fence: Fence | None) -> bool:
        """False where somebody wrote in between: it is read again, to decide again."""
        for change in changes:
            try:
                self._fleet.view.wrote(change, await self._ledger.commit(change, fence=fence))
            except LostLease:
                raise
            except Conflict:
                await self._fleet.view.refresh(change)
                return False
        return True

    async def _decision(self, seen: RolloutView) -> Decision | Waits:
        """What it was made from must stand still for as long as its changes are written: they expect the generations of then."""
        if seen.is_long:
            return await asyncio.to_thread(next_actions, seen, self._clock())
        return next_actions(seen, self._clock())
