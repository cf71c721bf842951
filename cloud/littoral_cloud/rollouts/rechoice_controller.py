"""The shell around `rechoice`: woken by nodes that come or have another budget, by measurements, and by rollouts that end.

It looks only at nodes of which something was announced; at all of them at the start, after a rollout ended, and by the timer.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping, Sequence
from math import inf

from littoral.budget import Budget
from littoral.errors import Conflict, FleetError, LostLease, Unavailable
from littoral_cloud.fleet.controller import ControllerSpec, News, keep_advancing
from littoral_cloud.fleet.ledger import Fence, Ledger
from littoral_cloud.fleet.measurements import node_of
from littoral_cloud.fleet.records import Artifact, Release, load
from littoral_cloud.rollouts.rechoice import Fleet, rechoice
from littoral_cloud.rollouts.seen import FleetNode, measurements, nodes
from littoral_cloud.rollouts.state import ENDED, KIND, Rollout

log = logging.getLogger(__name__)

WATCH = ControllerSpec("choice", "choice", ("presence", "measurement", KIND), coalesce_s=0.05)


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
        """Runs until it is cancelled."""
        await keep_advancing(self._ledger, WATCH, self._advance, self._clock, self._rng)

    async def _advance(self, news: News, fence: Fence) -> float:
        await self.choose_for(await self._touched(news), fence)
        return inf

    async def choose_for(self, node_ids: frozenset[str] | None, fence: Fence | None) -> int:
        """Chooses again for these nodes where that is due; gives for how many something was written. None: for every node."""
        ids = () if node_ids is None else sorted(node_ids)
        if node_ids is not None and not ids:
            return 0
        fleet: Fleet | None = None
        changed = 0
        for node_id, node in (await nodes(self._ledger, *ids)).items():
            if node.presence is None or not node.connected:
                self._seen.pop(node_id, None)  # what goes out meanwhile goes out without it
                self._measuring.discard(node_id)
                continue
            if node_ids is not None and node_id not in self._measuring and self._seen.get(node_id) == node.presence.budgets:
                continue  # connected, gone, or stands otherwise with the same budget: the rest need not be read
            fleet = fleet or await read_fleet(self._ledger)
            wrote = await self._choose(node, fleet, fence)
            changed += wrote
            if not wrote and _settled(node):
                self._seen[node_id] = node.presence.budgets
            else:  # looked at again at the next news of it: a rollout may hold it until it is away
                self._seen.pop(node_id, None)
        return changed

    async def _choose(self, node: FleetNode, fleet: Fleet, fence: Fence | None) -> bool:
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

    async def _node(self, node_id: str) -> FleetNode | None:
        return (await nodes(self._ledger, node_id)).get(node_id)

    async def _touched(self, news: News) -> frozenset[str] | None:
        """The nodes to look at; None: every one."""
        if news is None or await self._ended([each.id for each in news if each.kind == KIND]):
            return None
        came = {each.id for each in news if each.kind == "presence"}
        measured = {node_of(each.id) for each in news if each.kind == "measurement"}
        return frozenset(came | measured & self._measuring)

    async def _ended(self, rollouts: Sequence[str]) -> bool:
        for id in rollouts:
            doc = await self._ledger.get(KIND, id)
            if doc is not None and load(Rollout, doc).state in ENDED:
                return True
        return False


def _settled(node: FleetNode) -> bool:
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
