"""Which nodes can take part in a run: those that are there, and those that are waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from littoral.errors import FleetError
from littoral_cloud.fleet.ledger import Ledger, next_announcement
from littoral_cloud.fleet.presence import There, there
from littoral_cloud.fleet.profile import PRESENCE, PROFILE, presence_of, presences
from littoral_cloud.fleet.records import Enrolment, Node, Presence, load

FEATURE = "federated"
FEWEST_EXAMPLES = 5
"""With fewer a node cannot train on some and hold some out."""
GRACE_S = 3.0
"""How long a round's start waits for nodes that are hoped for when enough others are there."""
REPAIR_S = 5.0
"""A lost announcement costs at most this much."""


class TooFewNodes(FleetError):
    """Not enough nodes that can train are connected."""

    code = "too-few-nodes"


def able(node: Node, presence: Presence | None, model: str) -> bool:
    """Whether a node can take part: accepted, connected, with the feature and labelled examples of the model."""
    return presence is not None and presence.connected and fit(node, presence, model)


def fit(node: Node, presence: Presence, model: str) -> bool:
    """As `able`, wherever the node is now."""
    if node.enrolment is not Enrolment.ACCEPTED:
        return False
    return FEATURE in presence.features and presence.examples_of(model) >= FEWEST_EXAMPLES


class Participants:
    """Args:
    clock: seconds since 1970-01-01 UTC. None: no node that is not connected is waited for, as it is not known since when.
    """

    def __init__(self, ledger: Ledger, clock: Callable[[], float] | None = None) -> None:
        self._ledger = ledger
        self._clock = clock

    async def able_nodes(self, model: str, cohort: Collection[str], without: Collection[str] = ()) -> tuple[str, ...]:
        nodes = {doc.id: load(Node, doc) for doc in await self._ledger.all("node")}
        found = await presences(self._ledger)
        wanted = (set(cohort) or set(nodes)) - set(without)
        return tuple(sorted(id for id, node in nodes.items() if id in wanted and able(node, found.get(id), model)))

    async def _away(self, model: str, cohort: Collection[str], without: Collection[str]) -> bool:
        """Whether a node that could take part went a moment ago."""
        if (now := self._clock() if self._clock is not None else None) is None:
            return False
        wanted = [doc for doc in await self._ledger.all("node") if (not cohort or doc.id in cohort) and doc.id not in without]
        nodes = {doc.id: load(Node, doc) for doc in wanted}
        found = await presences(self._ledger)
        return any(there(each, now) is There.AWAY and fit(nodes[id], each, model) for id, each in found.items() if id in nodes)

    async def examples_of(self, node: str, model: str) -> int:
        """Labelled examples that a node reports for a model; 0 where it reports none."""
        presence = await presence_of(self._ledger, node)
        return presence.examples_of(model) if presence else 0

    async def gather_nodes(
        self,
        model: str,
        cohort: Collection[str],
        *,
        at_least: int,
        hoped: Collection[str],
        within_s: float,
        without: Collection[str] = (),
    ) -> tuple[str, ...]:
        """Nodes that can take part, by id: at once where all that are hoped for are there, else after a short grace.

        Args:
            without: nodes that sit this run out.

        Raises TooFewNodes where fewer than `at_least` are there after `within_s`, and none is away for a moment only.
        """
        loop = asyncio.get_running_loop()
        start = loop.time()
        async with self._ledger.watch(PRESENCE, PROFILE, "node") as news:
            while True:
                able_now = await self.able_nodes(model, cohort, without)
                waited = loop.time() - start
                if len(able_now) >= at_least and (set(hoped) - set(without) <= set(able_now) or waited >= GRACE_S):
                    return able_now
                if waited >= within_s and not await self._away(model, cohort, without):
                    break
                limit = within_s - waited if waited < within_s else REPAIR_S
                if len(able_now) >= at_least:
                    limit = min(limit, GRACE_S - waited)
                await next_announcement(news, min(limit, REPAIR_S))
        out = f"; {', '.join(sorted(without))} answered badly twice and sit this run out" if without else ""
        raise TooFewNodes(
            f"nodes: {len(able_now)} can take part, {at_least} are needed{out}",
            hint=f"a node needs {FEWEST_EXAMPLES} labelled examples, the feature 'federated' "
            "(pip install 'littoral[edge-train]') and a connection",
        )
