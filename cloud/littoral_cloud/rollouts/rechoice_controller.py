"""The thin shell around `rechoice`: woken by nodes that come or say what they may spend, by what they measured for it, and by
rollouts that end; repaired by a slow timer.

Only nodes of which something was announced are looked at; all of them at the start, after a rollout ended, and by the timer.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from littoral.budget import Budget
from littoral.errors import Conflict, FleetError, LostLease, Unavailable
from littoral_cloud.fleet.ledger import Announcement, Fence, Ledger
from littoral_cloud.fleet.records import Artifact, Release, load, node_of
from littoral_cloud.rollouts.rechoice import Fleet, rechoice
from littoral_cloud.rollouts.seen import NodeView, measurements, nodes
from littoral_cloud.rollouts.state import ENDED, KIND, Rollout

log = logging.getLogger(__name__)

LEASE = "choice"
COALESCE_S = 0.05
REPAIR_S = 60.0


@dataclass(frozen=True, slots=True)
class News:
    """`nodes`: ids; None: every one."""

    nodes: frozenset[str] | None


class Rechooser:
    """Args:
    clock: seconds since 1970-01-01 UTC.
    rng: for the repair timer's jitter.
    """

    def __init__(self, ledger: Ledger, clock: Callable[[], float], rng: random.Random) -> None:
        self._ledger = ledger
        self._clock = clock
        self._rng = rng
        self._measuring: set[str] = set()  # nodes that were asked to run a candidate before anything is chosen
        self._seen: dict[str, Mapping[str, Budget]] = {}  # what each node might spend when it was looked at last

    async def run(self) -> None:
        """Until cancelled. A lost lease is waited for again; a Redis that is away, too."""
        while True:
            try:
                async with self._ledger.lease(LEASE) as fence, self._ledger.watch("presence", "measurement", KIND) as news:
                    due = News(None)
                    while True:
                        await self.advance(due, fence)
                        due = await self._wait(news)
            except (LostLease, Unavailable) as error:
                log.warning("choice: %s", error)

    async def advance(self, news: News, fence: Fence | None) -> int:
        """Chooses again for these nodes where that is due; gives for how many something was written."""
        ids = () if news.nodes is None else sorted(news.nodes)
        if news.nodes is not None and not ids:
            return 0
        fleet: Fleet | None = None
        changed = 0
        for node_id, node in (await nodes(self._ledger, *ids)).items():
            if node.presence is None or not node.connected:
                self._seen.pop(node_id, None)  # what goes out meanwhile goes out without it
                self._measuring.discard(node_id)
                continue
            if news.nodes is not None and node_id not in self._measuring and self._seen.get(node_id) == node.presence.budgets:
                continue  # connected, gone, or stands otherwise with the same budget: the rest need not be read
            fleet = fleet or await read_fleet(self._ledger)
            wrote = await self._choose(node, fleet, fence)
            changed += wrote
            if not wrote and _settled(node):
                self._seen[node_id] = node.presence.budgets
            else:  # it is looked at again whatever is said: a rollout may hold it until it is away
                self._seen.pop(node_id, None)
        return changed

    async def _choose(self, node: NodeView, fleet: Fleet, fence: Fence | None) -> bool:
        """Until there is nothing more to choose for the node; gives whether something was written."""
        wrote = False
        while True:
            try:
                choice = rechoice(node, fleet, self._clock())
                (self._measuring.add if choice.measuring else self._measuring.discard)(node.id)
                if choice.change is None:
                    return wrote
                await self._ledger.commit(choice.change, fence=fence)
            except LostLease:
                raise
            except Conflict:  # a rollout wrote in between
                fleet = await read_fleet(self._ledger)
            except Unavailable:
                raise
            except FleetError as error:
                log.error("choice for %s: %s", node.name, error)
                return wrote
            else:
                wrote = True
                for line in choice.change.audit:
                    log.info("choice for %s: %s %s", node.name, line.action, dict(line.details))
            again = await self._node(node.id)
            if again is None:
                return wrote
            node = again

    async def _node(self, node_id: str) -> NodeView | None:
        return (await nodes(self._ledger, node_id)).get(node_id)

    async def _wait(self, news: AsyncIterator[Announcement]) -> News:
        """Which nodes to look at, after the first announcement that may matter and a little more, or the repair timer."""
        pause = REPAIR_S * self._rng.uniform(0.5, 1.5)
        heard: set[Announcement] = set()
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                heard.add(await anext(news))
        if not heard:
            return News(None)
        with suppress(TimeoutError):
            async with asyncio.timeout(COALESCE_S):
                while True:
                    heard.add(await anext(news))
        if any(not each.id for each in heard) or await self._ended([each.id for each in heard if each.kind == KIND]):
            return News(None)  # an empty id: announcements were lost
        came = {each.id for each in heard if each.kind == "presence"}
        measured = {node_of(each.id) for each in heard if each.kind == "measurement"}
        return News(frozenset(came | measured & self._measuring))

    async def _ended(self, rollouts: Sequence[str]) -> bool:
        for id in rollouts:
            doc = await self._ledger.get(KIND, id)
            if doc is not None and load(Rollout, doc).state in ENDED:
                return True
        return False


def _settled(node: NodeView) -> bool:
    presence = node.presence
    return presence is not None and all(
        m.chosen_for in (None, presence.budget_for(name)) for name, m in node.desired.models.items()
    )


async def read_fleet(ledger: Ledger) -> Fleet:
    return Fleet(
        {doc.id: load(Rollout, doc) for doc in await ledger.all(KIND)},
        {doc.id: load(Release, doc) for doc in await ledger.all("release")},
        {doc.id: load(Artifact, doc) for doc in await ledger.all("artifact")},
        await measurements(ledger),
    )
