"""Which nodes can take part in a run: those that are there, and those that are waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from littoral.errors import FleetError
from littoral_cloud.federation.run import Run, all_runs, next_run, sitting_out
from littoral_cloud.fleet.ledger import Clock, Ledger, next_announcement
from littoral_cloud.fleet.presence import There, there
from littoral_cloud.fleet.profile import PRESENCE, PROFILE, presence_of, presences
from littoral_cloud.fleet.quarantine import KIND as TROUBLE
from littoral_cloud.fleet.quarantine import NodeTrouble, Quarantine, in_quarantine
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
    found = await presences(ledger)
    quarantines = {doc.id: load(NodeTrouble, doc).quarantine for doc in await ledger.all(TROUBLE)}
    nodes = {doc.id: load(Node, doc) for doc in await ledger.all("node")}
    asked = {id: node for id, node in nodes.items() if (not cohort or id in cohort) and id not in without}
    return {id: Candidate(node, found.get(id), quarantines.get(id)) for id, node in asked.items()}


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


@dataclass(frozen=True, slots=True)
class Participants:
    ledger: Ledger
    clock: Clock | None = None  # None: no node that is not connected is waited for, as it is not known since when

    async def able_nodes(self, model: str, cohort: Collection[str], without: Collection[str] = ()) -> tuple[str, ...]:
        asked = await _asked(self.ledger, cohort, without)
        return tuple(sorted(id for id, each in asked.items() if not unable(each, model)))

    async def _away(self, model: str, cohort: Collection[str], without: Collection[str]) -> bool:
        """Whether a node that could take part went a moment ago."""
        if (now := self.clock() if self.clock is not None else None) is None:
            return False
        asked = await _asked(self.ledger, cohort, without)
        return any(there(each.presence, now) is There.AWAY and not unfit(each, model) for each in asked.values())

    async def examples_of(self, node: str, model: str) -> int:
        """Labelled examples that a node reports for a model; 0 where it reports none."""
        presence = await presence_of(self.ledger, node)
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
        async with self.ledger.watch(PRESENCE, PROFILE, TROUBLE, "node") as news:
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
