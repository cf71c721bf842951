"""The shell around `rechoice`: woken by nodes that come or have another budget, by measurements, and by rollouts that end.

It looks only at nodes of which something was announced, or whose time to wait is over; at all of them at the start, and after
a rollout ended.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from math import inf

from littoral.budget import Budget
from littoral.errors import Conflict, FleetError, LostLease, Unavailable
from littoral_cloud.fleet.controller import ControllerSpec, News, keep_advancing
from littoral_cloud.fleet.ledger import Change, Fence, Ledger
from littoral_cloud.fleet.measurements import node_of
from littoral_cloud.fleet.profile import PRESENCE, PROFILE
from littoral_cloud.fleet.quarantine import KIND as TROUBLE
from littoral_cloud.fleet.records import Artifact, Release, load
from littoral_cloud.rollouts.assignments import KIND as ASSIGNMENT
from littoral_cloud.rollouts.assignments import Assignment, assignment_id, ids_of
from littoral_cloud.rollouts.fleet_node import FleetNode
from littoral_cloud.rollouts.rechoice import Fleet, rechoice
from littoral_cloud.rollouts.seen import measurements
from littoral_cloud.rollouts.seen_fleet import SeenFleet
from littoral_cloud.rollouts.state import ENDED, KIND, Rollout

log = logging.getLogger(__name__)

WATCH = ControllerSpec("choice", "choice", (PRESENCE, PROFILE, TROUBLE, "measurement", KIND), coalesce_s=0.05)
TURN_NODES = 50
"""That are looked at, one after another; then others have a turn."""


class Rechooser:
    """Args:
    fleet: what the choices are made from.
    clock: seconds since 1970-01-01 UTC.
    rng: for jitter.
    """

    def __init__(self, ledger: Ledger, fleet: SeenFleet, clock: Callable[[], float], rng: random.Random) -> None:
        self._ledger = ledger
        self._fleet = fleet
        self._clock = clock
        self._rng = rng
        self._offers: Fleet | None = None  # until a rollout, a release or an artifact changes
        fleet.view.follow((KIND, "release", "artifact"), self._forget_offers)
        self._waiting: dict[str, float] = {}  # nodes that run a candidate first, or whose window is closed, and until when
        self._seen: dict[str, Mapping[str, Budget]] = {}  # what each node might spend when it was looked at last

    async def run(self) -> None:
        """Runs until it is cancelled."""
        await keep_advancing(self._ledger, WATCH, self._advance, self._clock, self._rng, view=self._fleet.view)

    async def _advance(self, news: News, fence: Fence) -> float:
        await self.choose_for(self._touched(news), fence)
        now = self._clock()
        return min((until for until in self._waiting.values() if until > now), default=inf)

    async def choose_for(self, node_ids: frozenset[str] | None, fence: Fence | None) -> int:
        """Chooses again for these nodes where that is due; gives for how many something was written. None: for every node."""
        changed = 0
        for number, node_id in enumerate(sorted(self._fleet.nodes if node_ids is None else node_ids)):
            if number % TURN_NODES == TURN_NODES - 1:
                await asyncio.sleep(0)
            node = self._fleet.nodes.get(node_id)
            if node is None or node.presence is None or not node.connected:
                self._seen.pop(node_id, None)  # what goes out meanwhile goes out without it
                self._waiting.pop(node_id, None)
                continue
            if node_ids is not None and node_id not in self._waiting and self._seen.get(node_id) == node.presence.budgets:
                continue  # connected, gone, or stands otherwise with the same budget
            wrote = await self._choose(node_id, fence)
            changed += wrote
            if not wrote and _settled(node) and node.quarantine is None:
                self._seen[node_id] = node.presence.budgets
            else:  # looked at again at the next news of it: a rollout may hold it until it is away
                self._seen.pop(node_id, None)
        return changed

    async def _choose(self, node_id: str, fence: Fence | None) -> bool:
        """Until there is nothing more to choose for the node; gives whether something was written."""
        wrote, view = False, self._fleet.view
        while (node := self._fleet.nodes.get(node_id)) is not None:
            change: Change | None = None
            try:
                choice = rechoice(node, self._offered(), self._clock())
                if choice.again_at is None:
                    self._waiting.pop(node_id, None)
                else:
                    self._waiting[node_id] = choice.again_at
                if (change := choice.change) is None:
                    break
                view.wrote(change, await self._ledger.commit(change, fence=fence))
            except (LostLease, Unavailable):
                raise
            except Conflict:  # somebody wrote in between
                assert change is not None
                await view.refresh(change)
            except FleetError as error:
                log.error("choice for %s: %s", node.name, error)
                break
            else:
                wrote = True
                for line in change.audit:
                    log.info("choice for %s: %s %s", node.name, line.action, dict(line.details))
        return wrote

    def _offered(self) -> Fleet:
        if self._offers is None:
            of = self._fleet.view.of
            self._offers = Fleet(
                {id: held.record for id, held in of(KIND).items()},
                {id: held.record for id, held in of("release").items()},
                {id: held.record for id, held in of("artifact").items()},
                self._fleet.measurements,
                self._fleet.assignment,
            )
        return self._offers

    def _forget_offers(self, kind: str, id: str, held: object) -> None:
        self._offers = None

    def _touched(self, news: News) -> frozenset[str] | None:
        """The nodes to look at; None: every one."""
        if news is None:
            return None
        rollouts = self._fleet.view.of(KIND)
        if any(each.kind == KIND and (held := rollouts.get(each.id)) and held.record.state in ENDED for each in news):
            return None
        came = {each.id for each in news if each.kind in (PRESENCE, PROFILE, TROUBLE)}
        measured = {node_of(each.id) for each in news if each.kind == "measurement"}
        now = self._clock()
        late = {id for id, until in self._waiting.items() if until <= now}
        return frozenset(came | measured & self._waiting.keys() | late)


def _settled(node: FleetNode) -> bool:
    presence = node.presence
    return presence is not None and all(
        m.chosen_for in (None, presence.budget_for(name)) for name, m in node.desired.models.items()
    )


async def read_fleet(ledger: Ledger, node_id: str) -> Fleet:
    """For a choice for this one node."""
    rollouts = {doc.id: load(Rollout, doc) for doc in await ledger.all(KIND)}
    docs = await ledger.get_many([(ASSIGNMENT, assignment_id(id, node_id)) for id in rollouts])
    given = {ids_of(doc.id)[0]: load(Assignment, doc) for doc in docs if doc is not None}
    return Fleet(
        rollouts,
        {doc.id: load(Release, doc) for doc in await ledger.all("release")},
        {doc.id: load(Artifact, doc) for doc in await ledger.all("artifact")},
        await measurements(ledger),
        lambda rollout_id, _: given.get(rollout_id),
    )
