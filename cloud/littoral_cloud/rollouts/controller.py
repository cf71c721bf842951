"""The shell around `next_actions`: reads what is so, decides for each rollout, commits with the lease's fence."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable

from littoral.errors import Conflict, FleetError, LostLease, Unavailable
from littoral_cloud.fleet.controller import ControllerSpec, keep_advancing
from littoral_cloud.fleet.ledger import Fence, Ledger
from littoral_cloud.rollouts.decide import next_actions
from littoral_cloud.rollouts.seen import read
from littoral_cloud.rollouts.state import KIND, Waits

log = logging.getLogger(__name__)

WATCH = ControllerSpec("rollouts", "rollouts", (KIND, "node", "presence", "reported", "measurement", "desired"))


class Controller:
    """Args:
    clock: seconds since 1970-01-01 UTC.
    rng: for the repair timer's jitter.
    """

    def __init__(self, ledger: Ledger, clock: Callable[[], float], rng: random.Random) -> None:
        self._ledger = ledger
        self._clock = clock
        self._rng = rng

    async def run(self) -> None:
        """Runs until it is cancelled."""
        await keep_advancing(self._ledger, WATCH, lambda _, fence: self.advance(fence), self._clock, self._rng)

    async def advance(self, fence: Fence | None) -> float:
        """Takes every step that can be taken now; gives the time at which there may be another without news."""
        while True:
            snapshot = await read(self._ledger)
            if snapshot is None:
                return float("inf")
            again, wake_at = False, float("inf")
            for rollout_id in snapshot.rollouts:
                try:
                    seen = snapshot.of(rollout_id)
                    decision = next_actions(seen, self._clock())
                    if isinstance(decision, Waits):
                        wake_at = min(wake_at, decision.until)
                        continue
                    await self._ledger.commit(decision.change(seen), fence=fence)
                    log.info("rollout %s: %s", rollout_id, decision.rollout.state)
                    again = True
                except LostLease:
                    raise
                except Conflict:
                    again = True  # somebody wrote in between: read again, decide again
                except Unavailable:
                    raise
                except FleetError as error:
                    log.error("rollout %s: cannot go on: %s", rollout_id, error)
            if not again:
                return wake_at
