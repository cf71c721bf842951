"""The thin shell around `next_actions`: woken by announcements, repaired by a slow jittered timer, commits fenced.

Whoever holds the lease "rollouts" decides for all rollouts. All that it knows is in the ledger, so another that takes over, or
the same one after a crash, goes on from there.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace

from littoral.errors import BadInput, Conflict, FleetError, LostLease, NotFound, Unavailable
from littoral_cloud.fleet.ledger import Announcement, Audit, Change, Doc, Fence, Ledger, Write
from littoral_cloud.fleet.records import Release, dump, load
from littoral_cloud.rollouts.decide import next_actions
from littoral_cloud.rollouts.seen import read
from littoral_cloud.rollouts.state import ENDED, KIND, Policy, Rollout, State, Waits, limit_s

log = logging.getLogger(__name__)

LEASE = "rollouts"
WATCHED = (KIND, "node", "presence", "reported", "measurement", "desired")
COALESCE_S = 0.1
REPAIR_S = 60.0


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
        """Until cancelled. A lost lease is waited for again; a Redis that is away, too."""
        while True:
            try:
                async with self._ledger.lease(LEASE) as fence, self._ledger.watch(*WATCHED) as news:
                    while True:
                        await self._wait(news, await self.advance(fence))
            except (LostLease, Unavailable) as error:
                log.warning("rollouts: %s", error)

    async def advance(self, fence: Fence | None) -> float:
        """Takes every step that can be taken now; gives the time at which there may be another without any news."""
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

    async def _wait(self, news: AsyncIterator[Announcement], wake_at: float) -> None:
        """For the first announcement, or `wake_at`, or the repair timer; then a little, for those that come together."""
        pause = min(max(wake_at - self._clock(), 0.0) + 0.01, REPAIR_S * self._rng.uniform(0.5, 1.5))
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await anext(news)
                await asyncio.sleep(COALESCE_S)


async def start_rollout(
    ledger: Ledger, release: Release, now: float, policy: Policy | None = None, *, number: int = 0, actor: str = "operator"
) -> str:
    """Asks for a rollout of a release; the coordinator's controller carries it out. Gives its id, RELEASE-rNUMBER.

    Args:
        number: for a caller that must not start one twice: the number that it must get. 0: the next.

    Raises BadInput where the policy cannot be, or the release was withdrawn; Conflict where the given number is taken.
    """
    policy = policy or Policy()
    doc = await ledger.get("release", release.release_id)  # it may have been withdrawn since the caller read it
    if doc is not None and (why := load(Release, doc).withdrawn):
        raise BadInput(f"release {release.release_id}: was withdrawn: {why}", hint="littoral-cloud release list")
    if any(size < 1 for size in policy.wave_sizes) or not policy.wave_sizes:
        raise BadInput(
            f"wave_sizes: {policy.wave_sizes} must hold whole numbers from 1", hint="1,4 is a canary, then four, then the rest"
        )
    if policy.canary and policy.nodes and policy.canary not in policy.nodes:
        raise BadInput(f"canary: {policy.canary} is not among the nodes that were named", hint="name it with --nodes, too")
    for node_id in {*policy.nodes, *filter(None, (policy.canary,))}:
        if await ledger.get("node", node_id) is None:
            raise BadInput(f"node {node_id!r}: is not enrolled", hint="littoral-cloud node list")
    rollout = Rollout(
        release_id=release.release_id,
        model=release.model,
        kind=release.kind,
        policy=policy,
        state=State.PENDING,
        created_at=now,
        entered_at=now,
        deadline=now + limit_s(policy, State.PENDING),
    )
    wanted = number or 1
    while True:
        id = f"{release.release_id}-r{wanted}"
        line = Audit("rollout.started", id, actor, {"release": release.release_id, "kind": release.kind})
        try:
            await ledger.commit(Change((Write(KIND, id, dump(rollout), 0),), (line,)))
        except Conflict:
            if number:
                raise
            wanted += 1
            continue
        return id


async def read_rollout(ledger: Ledger, rollout_id: str) -> tuple[Doc, Rollout]:
    """Raises NotFound."""
    if (doc := await ledger.get(KIND, rollout_id)) is None:
        raise NotFound(f"rollout {rollout_id!r}: there is none", hint="littoral-cloud rollout list")
    return doc, load(Rollout, doc)


async def wait(ledger: Ledger, rollout_id: str) -> Rollout:
    """Until it has ended."""
    async with ledger.watch(KIND) as news:
        while True:
            _, rollout = await read_rollout(ledger, rollout_id)
            if rollout.state in ENDED:
                return rollout
            await anext(news)


async def abort(ledger: Ledger, rollout_id: str, actor: str) -> None:
    """Asks for a rollout to stop: what it touched goes back. Raises NotFound; BadInput where it has ended."""
    while True:
        doc, rollout = await read_rollout(ledger, rollout_id)
        if rollout.state in ENDED or rollout.state is State.ROLLING_BACK:
            raise BadInput(f"rollout {rollout_id}: is {rollout.state} already", hint=f"littoral-cloud rollout show {rollout_id}")
        write = Write(KIND, rollout_id, dump(replace(rollout, aborted_by=actor)), doc.generation)
        try:
            await ledger.commit(Change((write,), (Audit("rollout.abort-asked", rollout_id, actor),)))
        except Conflict:
            continue
        return
