"""The shell around the rules of quarantine: counts failures when the view hears of them, and ends a quarantine in its time."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from math import inf
from typing import Any

from littoral_cloud.federation.run import KIND as RUN
from littoral_cloud.fleet.controller import ControllerSpec, News, keep_advancing
from littoral_cloud.fleet.edit import edit
from littoral_cloud.fleet.ledger import Audit, Fence, Ledger
from littoral_cloud.fleet.quarantine import (
    KIND,
    MOST_FAILURES,
    NodeFailure,
    NodeTrouble,
    QuarantinePolicy,
    ended,
    is_over,
    with_failure,
)
from littoral_cloud.fleet.records import Desired
from littoral_cloud.fleet.view import FleetView, Held
from littoral_cloud.quarantine.failures import failed_replies, failed_to_answer, failed_updates
from littoral_cloud.rollouts.assignments import KIND as ASSIGNMENT

log = logging.getLogger(__name__)

ACTOR = "quarantine"
WATCH = ControllerSpec("quarantine", "quarantine", ("reported", ASSIGNMENT, RUN, KIND))


class QuarantineController:
    """Args:
    view: follows "reported", "desired", ASSIGNMENT, RUN and KIND; it does not run yet.
    clock: seconds since 1970-01-01 UTC.
    rng: for jitter.
    """

    def __init__(
        self, ledger: Ledger, view: FleetView, policy: QuarantinePolicy, clock: Callable[[], float], rng: random.Random
    ) -> None:
        self._ledger = ledger
        self._view = view
        self._policy = policy
        self._clock = clock
        self._rng = rng
        self._waiting: dict[str, dict[str, NodeFailure]] = {}  # that are not written yet, by node and by what failed
        view.follow(("reported",), self._reported)  # at once: what was wanted of the node is another thing soon
        view.follow((ASSIGNMENT,), self._assigned)
        view.follow((RUN,), self._replied)

    async def run(self) -> None:
        """Runs until it is cancelled."""
        await keep_advancing(self._ledger, WATCH, self._advance, self._clock, self._rng, view=self._view)

    async def _advance(self, news: News, fence: Fence) -> float:
        return await self.advance(fence)

    async def advance(self, fence: Fence | None) -> float:
        """Writes what failed, and ends what is over; gives the time at which the next quarantine is over."""
        while self._waiting:
            node_id, failures = next(iter(self._waiting.items()))
            noted = dict(failures)
            await self._note(node_id, tuple(noted.values()), fence)
            for of in noted:
                del failures[of]
            if not failures:
                del self._waiting[node_id]
        quarantined = {id: held.record for id, held in self._view.of(KIND).items() if held.record.quarantine is not None}
        for node_id, trouble in quarantined.items():
            if is_over(trouble, self._clock()):
                await self._end(node_id, fence)
        ends = (trouble.quarantine.until for trouble in quarantined.values() if trouble.quarantine.until is not None)
        return min((until for until in ends if until > self._clock()), default=inf)

    async def _note(self, node_id: str, failures: tuple[NodeFailure, ...], fence: Fence | None) -> None:
        def noted(before: NodeTrouble | None) -> NodeTrouble:
            trouble = before or NodeTrouble()
            for failure in failures:
                trouble = with_failure(trouble, failure, self._policy, ACTOR)
            return trouble

        await edit(self._ledger, NodeTrouble, KIND, node_id, noted, lambda *both: _lines(node_id, *both), fence=fence)

    async def _end(self, node_id: str, fence: Fence | None) -> None:
        now = self._clock()

        def over(before: NodeTrouble | None) -> NodeTrouble | None:
            return ended(before, now) if before is not None and is_over(before, now) else before

        await edit(self._ledger, NodeTrouble, KIND, node_id, over, lambda *both: _lines(node_id, *both), fence=fence)

    def _reported(self, kind: str, id: str, held: Held[Any] | None) -> None:
        if held is not None:
            desired = self._view.of("desired").get(id)
            for failure in failed_updates(desired.record if desired else Desired(), held.record, self._clock()):
                self._wait(id, failure)

    def _assigned(self, kind: str, id: str, held: Held[Any] | None) -> None:
        if held is not None and held.record.at > self._clock() - self._policy.within_s:
            for failure in failed_to_answer(held.record, self._clock()):
                self._wait(held.record.node_id, failure)

    def _replied(self, kind: str, id: str, held: Held[Any] | None) -> None:
        now = self._clock()
        if held is not None and not (held.record.state.terminal and held.record.finished_at < now - self._policy.within_s):
            for node_id, failure in failed_replies(held.record, now):
                self._wait(node_id, failure)

    def _wait(self, node_id: str, failure: NodeFailure) -> None:
        held = self._view.of(KIND).get(node_id)
        if held is not None and any(known.of == failure.of for known in held.record.failures):
            return
        waiting = self._waiting.setdefault(node_id, {})
        if len(waiting) < MOST_FAILURES:
            waiting.setdefault(failure.of, failure)


def _lines(node_id: str, before: NodeTrouble | None, after: NodeTrouble) -> tuple[Audit, ...]:
    was = before.quarantine if before else None
    if after.quarantine is not None and was is None:
        failed = [f"{each.of}: {each.reason}" for each in after.failures if each.at > after.counts_since]
        log.warning("node %s: in quarantine: %s", node_id, after.quarantine.reason)
        details = {"reason": after.quarantine.reason, "until": after.quarantine.until, "failures": failed}
        return (Audit("node.quarantined", node_id, ACTOR, details),)
    if after.quarantine is None and was is not None:
        return (Audit("node.quarantine-ended", node_id, ACTOR, {"reason": "its time is over"}),)
    return ()
