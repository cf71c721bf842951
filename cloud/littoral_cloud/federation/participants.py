"""Which nodes can take part in a run: those that are there, and those that are waited for.

The run's worker reads the fleet once (fleet/view.py), and then what changed. A node that comes or goes costs one look at that
node, however many others there are.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from littoral.errors import FleetError
from littoral_cloud.federation.run import Run, all_runs, next_run, sitting_out
from littoral_cloud.fleet.ledger import Clock, Ledger, news_within
from littoral_cloud.fleet.presence import There, there
from littoral_cloud.fleet.profile import PRESENCE, PROFILE, Profile, presences, with_profile
from littoral_cloud.fleet.quarantine import KIND as TROUBLE
from littoral_cloud.fleet.quarantine import NodeTrouble, Quarantine, in_quarantine
from littoral_cloud.fleet.records import Enrolment, Node, Presence, load
from littoral_cloud.fleet.view import FleetView

FEATURE = "federated"
FEWEST_EXAMPLES = 5
"""With fewer a node cannot train on some and hold some out."""
GRACE_S = 3.0
"""How long a round's start waits for nodes that are hoped for when enough others are there."""
RECORDS: Mapping[str, type] = {"node": Node, PRESENCE: Presence, PROFILE: Profile, TROUBLE: NodeTrouble}
"""What the view of a run's worker follows. Each is stored under the id of its node."""


class TooFewNodes(FleetError):
    """Not enough nodes that can train are connected."""

    code = "too-few-nodes"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node that a run may ask."""

    node: Node
    presence: Presence | None  # None: it never connected
    quarantine: Quarantine | None = None


def unfit(candidate: Candidate, model: str) -> str:
    """Why a node cannot take part, wherever it is now; "": it can, while it is connected."""
    node, presence = candidate.node, candidate.presence
    if node.enrolment is not Enrolment.ACCEPTED:
        return str(node.enrolment)
    if candidate.quarantine is not None:
        return in_quarantine(candidate.quarantine)
    if presence is None:
        return "never connected"
    if FEATURE not in presence.features:
        return f"without the feature {FEATURE!r}: pip install 'littoral[edge-train]'"
    if (examples := presence.examples_of(model)) < FEWEST_EXAMPLES:
        return f"{examples} labelled examples of {model}, needs {FEWEST_EXAMPLES}"
    return ""


def unable(candidate: Candidate, model: str) -> str:
    """Why a node cannot take part now; "": it can."""
    presence = candidate.presence
    return unfit(candidate, model) or ("" if presence is not None and presence.connected else "not connected")


async def _asked(ledger: Ledger, cohort: Collection[str], without: Collection[str] = ()) -> Mapping[str, Candidate]:
    """By id: the nodes of the cohort, of an empty one all, except those in `without`."""
    if cohort:
        found = await ledger.get_many([(kind, id) for kind in ("node", TROUBLE) for id in cohort])
        docs = [doc for doc in found if doc is not None]
    else:
        docs = [*await ledger.all("node"), *await ledger.all(TROUBLE)]
    there_are = await presences(ledger, *cohort)
    quarantines = {doc.id: load(NodeTrouble, doc).quarantine for doc in docs if doc.kind == TROUBLE}
    nodes = {doc.id: load(Node, doc) for doc in docs if doc.kind == "node" and doc.id not in without}
    return {id: Candidate(node, there_are.get(id), quarantines.get(id)) for id, node in nodes.items()}


async def waits_for(ledger: Ledger, run: Run, now: float) -> list[str]:
    """What a run that has not ended waits for, in words: the run before it, or the nodes that it lacks, and why others are not
    able; empty: nothing but the nodes' work."""
    if run.state.terminal or run.open_round is not None:
        return []
    before = next_run(await all_runs(ledger))
    if before is not None and before.run_id != run.run_id:
        return [f"run {before.run_id}: one run learns at a time"]
    asked = await _asked(ledger, run.cohort, sitting_out(run))
    why_not = {each.node.name: why for each in asked.values() if (why := unable(each, run.model))}
    able = len(asked) - len(why_not)
    if able >= run.min_nodes:
        return []
    left_s = max(0.0, (run.started_at or now) + run.round_timeout_s - now)
    fails = "" if run.finished else f"; without them it fails in {left_s:.0f} s"
    return [f"nodes: {able} of {len(asked)} can take part, {run.min_nodes} are needed{fails}"] + [
        f"{name}: {why}" for name, why in sorted(why_not.items())
    ]


@dataclass(slots=True)
class _Pool:
    """Who of the asked nodes is able now, and who could be and is not connected. Looks at one node at a time."""

    candidate: Callable[[str], Candidate | None]  # by node id; None: there is no such node any more
    model: str
    cohort: Collection[str]  # empty: all nodes
    without: Collection[str]
    able: set[str] = field(default_factory=set)
    gone: dict[str, Presence] = field(default_factory=dict)

    def look(self, id: str) -> None:
        """To be called whenever a record of this node changed."""
        self.able.discard(id)
        self.gone.pop(id, None)
        if id in self.without or (self.cohort and id not in self.cohort):
            return
        each = self.candidate(id)
        if each is None or each.presence is None or unfit(each, self.model):
            return
        if each.presence.connected:
            self.able.add(id)
        else:
            self.gone[id] = each.presence

    def away_s(self, now: float) -> float:
        """For how long a node is away at most, from now; 0: none is."""
        return max((p.gone_at - now for p in self.gone.values() if there(p, now) is There.AWAY), default=0.0)


@asynccontextmanager
async def following(ledger: Ledger, clock: Clock | None = None) -> AsyncIterator[Participants]:
    """The participants of a run, as long as the context is open. What fails inside comes out as it is.

    Args:
        clock: None: no node that is not connected is waited for, as it is not known since when.
    """
    view = FleetView(ledger, RECORDS)
    try:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(view.run())
            await view.ready()
            yield Participants(view, clock)
            task.cancel()
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None


@dataclass(frozen=True, slots=True)
class Participants:
    """`view` follows RECORDS, and runs."""

    view: FleetView
    clock: Clock | None = None

    def _candidate(self, id: str) -> Candidate | None:
        node, presence, profile, trouble = (self.view.of(kind).get(id) for kind in ("node", PRESENCE, PROFILE, TROUBLE))
        if node is None:
            return None
        joined = with_profile(presence.record if presence else None, profile.record if profile else None)
        return Candidate(node.record, joined, trouble.record.quarantine if trouble else None)

    async def examples_of(self, nodes: Collection[str], model: str) -> dict[str, int]:
        """Labelled examples that each of these nodes reports for a model; 0 where it reports none."""
        await self.view.catch_up()
        found = {id: self._candidate(id) for id in nodes}
        return {id: each.presence.examples_of(model) if each and each.presence else 0 for id, each in found.items()}

    def out(self, nodes: Collection[str]) -> frozenset[str]:
        """Those of these nodes that are not part of the fleet any more, as far as `examples_of` has read."""
        found = {id: self._candidate(id) for id in nodes}
        return frozenset(id for id, each in found.items() if each and each.node.enrolment is not Enrolment.ACCEPTED)

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
        hoped_for = frozenset(hoped) - frozenset(without)
        pool = _Pool(self._candidate, model, frozenset(cohort), frozenset(without))
        async with self.view.watch(*RECORDS) as news:
            await self.view.catch_up()
            for id in self.view.of("node"):
                pool.look(id)
            while True:
                waited = loop.time() - start
                if waited >= within_s:
                    await self.view.catch_up()  # a node that came in time counts
                for each in news.drain():
                    pool.look(each.id)
                enough = len(pool.able) >= at_least
                if enough and (waited >= GRACE_S or pool.able >= hoped_for):
                    return tuple(sorted(pool.able))
                left_s = (GRACE_S if enough else within_s) - waited
                if left_s <= 0 and self.clock is not None:
                    left_s = pool.away_s(self.clock())
                if left_s <= 0:
                    break
                await news_within(news, left_s)
        out = f"; {', '.join(sorted(without))} answered badly twice and sit this run out" if without else ""
        raise TooFewNodes(
            f"nodes: {len(pool.able)} can take part, {at_least} are needed{out}",
            hint=f"a node needs {FEWEST_EXAMPLES} labelled examples, the feature 'federated' "
            "(pip install 'littoral[edge-train]') and a connection",
        )
