"""The closed loop in one place: what is seen -> the next move. Runs only where `auto_loop` is set.

    nodes drifted                        -> a federated run, for the budgets of those nodes
    the run succeeded                    -> a release of what was learnt: exported, quantized, measured, signed
    a federated release without rollout  -> a rollout, canary first
    that rollout ended                   -> nodes that took it get a new baseline; on the others drift is acknowledged
    the run or the release failed        -> drift is acknowledged: nothing is tried for ever

One model has one move at a time. `step` is pure; the shell does the move, and everything that it did is read back from the
ledger, so a coordinator that dies anywhere goes on where the ledger says.
"""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from littoral.errors import BadInput, Conflict, FleetError, LostLease, NotFound, Untrusted
from littoral_cloud.commands import rollouts as rollout_commands
from littoral_cloud.commands import runs as run_commands
from littoral_cloud.commands.rollout_request import RolloutRequest
from littoral_cloud.commands.use_case import Office
from littoral_cloud.federation.run import Run, RunState
from littoral_cloud.federation.terms import RunTerms
from littoral_cloud.fleet import drift
from littoral_cloud.fleet.controller import ControllerSpec, News, keep_advancing
from littoral_cloud.fleet.ledger import Audit, Change, Doc, Fence, Write
from littoral_cloud.fleet.loop_memory import KIND, Memory
from littoral_cloud.fleet.records import Release, dump, load
from littoral_cloud.fleet.view import FleetView
from littoral_cloud.rollouts.assignments import KIND as ASSIGNMENT
from littoral_cloud.rollouts.assignments import AssignmentState, assignment_id
from littoral_cloud.rollouts.state import ENDED, Rollout
from littoral_cloud.rollouts.wording import nodes_in_audit
from littoral_cloud.trust.people import LOOP

log = logging.getLogger(__name__)

ACTOR = LOOP.name
WATCH = ControllerSpec("loop", "loop", ("inputs", "run", "release", "rollout"))
GATHER_S = 6.0
"""Nodes that drift together are seen a window apart: the first one waits this long for the others."""


@dataclass(frozen=True, slots=True)
class ModelView:
    """All that a move of one model depends on."""

    model: str
    drifted: Mapping[str, float]  # node id -> since when, where it is not acknowledged
    runs: Sequence[Run]
    releases: Sequence[Release]
    rollouts: Mapping[str, Rollout]  # by id
    memory: Memory = field(default_factory=Memory)
    away: frozenset[str] = frozenset()  # drifted nodes that are not connected
    took: Callable[[str, str], bool] = lambda rollout_id, node_id: False  # whether the node passed its probation in this rollout


@dataclass(frozen=True, slots=True)
class StartRun:
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MakeRelease:
    run_id: str


@dataclass(frozen=True, slots=True)
class StartRollout:
    release_id: str


@dataclass(frozen=True, slots=True)
class Settle:
    """`what` needs nothing more. Of the nodes that drifted before `until`, those that took the new model begin anew, and on the
    others drift is acknowledged; what drifted later asks for another run."""

    what: str
    took: tuple[str, ...]
    until: float


@dataclass(frozen=True, slots=True)
class WaitUntil:
    until: float = float("inf")


Move = StartRun | MakeRelease | StartRollout | Settle | WaitUntil


def step(seen: ModelView, now: float) -> Move:
    """The next move of one model. Pure."""
    ours = [run for run in seen.runs if run.model == seen.model and run.origin == "loop"]
    if any(not run.state.terminal for run in seen.runs if run.model == seen.model):
        return WaitUntil()
    for run in ours:
        if run.run_id in seen.memory.settled:
            continue
        if run.state is RunState.FAILED:
            return Settle(run.run_id, (), run.finished_at)
        release = next((r for r in seen.releases if r.run_id == run.run_id), None)
        if release is None:
            return MakeRelease(run.run_id)
        rollouts = [r for r in seen.rollouts.values() if r.release_id == release.release_id]
        if not rollouts:
            return StartRollout(release.release_id)
        if any(r.state not in ENDED for r in rollouts):
            return WaitUntil()
        passed = [id for id, r in seen.rollouts.items() if r.release_id == release.release_id and r.state == "SUCCEEDED"]
        took = [node_id for node_id in sorted(seen.drifted) if any(seen.took(id, node_id) for id in passed)]
        return Settle(run.run_id, tuple(took), run.finished_at)
    if any(r.model == seen.model and r.state not in ENDED for r in seen.rollouts.values()):
        return WaitUntil()
    if not set(seen.drifted) - seen.away:  # those that are away say so again when they are back
        return WaitUntil()
    due = min(seen.drifted.values()) + GATHER_S
    return StartRun(tuple(sorted(seen.drifted))) if now >= due else WaitUntil(due)


def next_run_id(model: str, runs: Sequence[Run]) -> str:
    """Its number is above that of every run that is there: old ones were archived."""
    before = [run.run_id for run in runs if run.model == model]
    numbers = [int(found[1]) for id in before if (found := re.search(r"-run-(\d{1,9})$", id))]
    return f"{re.sub('[^A-Za-z0-9]', '-', model)[:48]}-run-{1 + max(len(before), *numbers, 0)}"


class Loop:
    """Makes the moves that `step` decides; littoral_cloud/fleet/controller.py says when.

    Args:
        view: follows nodes, their presences, runs, releases and rollouts.
    """

    def __init__(self, office: Office, view: FleetView, rng: random.Random) -> None:
        self._office = office
        self._core = office.core
        self._view = view
        self._rng = rng
        self._drifted: dict[str, dict[str, float]] = {}  # by model and node id: since when, where it is not acknowledged

    async def run(self) -> None:
        """Runs until it is cancelled."""
        await keep_advancing(self._core.ledger, WATCH, self._advance, self._core.clock, self._rng)

    async def _advance(self, news: News, fence: Fence) -> float:
        """Makes every move that can be made now; gives the time of the next look without news."""
        if news is None:
            self._drifted.clear()
            async for page in self._core.ledger.pages(drift.KIND):
                for each in page:
                    self._note(each.id, each)
        else:
            await self._look_at(each.id for each in news if each.kind == drift.KIND)
        until = float("inf")
        await self._view.catch_up()
        for model in sorted({held.record.model for held in self._view.of("release").values()}):
            while True:
                seen, doc = await self._see(model)
                move = step(seen, self._core.clock())
                if isinstance(move, WaitUntil):
                    until = min(until, move.until)
                    break
                log.info("loop: %s: %s", model, move)
                try:
                    await self._make(seen, doc, move, fence)
                except Conflict as error:
                    if isinstance(error, LostLease):
                        raise
                await self._view.catch_up()
        return until

    async def _make(self, seen: ModelView, doc: Doc | None, move: Move, fence: Fence) -> None:
        match move:
            case StartRun(nodes):
                await self._start_run(seen, doc, nodes, fence)
            case MakeRelease(run_id):
                await self._make_release(seen, doc, run_id, fence)
            case StartRollout(release_id):
                request = RolloutRequest(release=release_id)
                await rollout_commands.start(self._office, LOOP, request=request, number=1)
            case Settle():
                await self._settle(seen, doc, move, fence)

    async def _start_run(self, seen: ModelView, doc: Doc | None, nodes: Sequence[str], fence: Fence) -> None:
        run_id, there = next_run_id(seen.model, seen.runs), self._view.of("node")
        drifted = [node for node in nodes if node in there]
        try:
            await run_commands.start(self._office, LOOP, model=seen.model, terms=RunTerms(), for_nodes=drifted, run_id=run_id)
        except (NotFound, BadInput, Untrusted) as error:
            await self._give_up(seen, doc, run_id, "loop.run-refused", str(error), fence)

    async def _give_up(self, seen: ModelView, doc: Doc | None, what: str, action: str, detail: str, fence: Fence) -> None:
        """Audited once and not tried again: an operator must act, or the inputs must drift anew."""
        log.error("loop: %s: %s: %s", what, action, detail)
        await self._core.ledger.commit(Change((), (Audit(action, what, ACTOR, {"detail": detail}),)), fence=fence)
        await self._settle(seen, doc, Settle(what, (), self._core.clock()), fence)

    async def _settle(self, seen: ModelView, doc: Doc | None, move: Settle, fence: Fence) -> None:
        """Baselines first: done again after a crash, they do no harm; the memory of it comes last."""
        now = self._core.clock()
        dealt = [node for node, since in seen.drifted.items() if since <= move.until]
        await drift.rebaseline(self._core.ledger, [node for node in dealt if node in move.took], seen.model, now)
        await drift.acknowledge(self._core.ledger, [node for node in dealt if node not in move.took], seen.model, now)
        await self._look_at(drift.inputs_id(node, seen.model) for node in dealt)
        memory = Memory(settled=(*seen.memory.settled, move.what))
        line = Audit("loop.settled", move.what, ACTOR, {"model": seen.model, **nodes_in_audit("took", move.took)})
        write = Write(KIND, seen.model, dump(memory), doc.generation if doc else 0)
        await self._core.ledger.commit(Change((write,), (line,)), fence=fence)

    async def _make_release(self, seen: ModelView, doc: Doc | None, run_id: str, fence: Fence) -> None:
        try:
            await run_commands.release(self._office, LOOP, run_id=run_id)
        except LostLease:
            raise
        except FleetError as error:
            await self._give_up(seen, doc, run_id, "loop.release-failed", str(error), fence)

    async def _look_at(self, inputs: Iterable[str]) -> None:
        """Reads these documents of kind "inputs"."""
        ids = list(inputs)
        for id, doc in zip(ids, await self._core.ledger.get_many([(drift.KIND, id) for id in ids]), strict=True):
            self._note(id, doc)

    def _note(self, id: str, doc: Doc | None) -> None:
        node_id, model = drift.node_and_model(id)
        inputs = load(drift.Inputs, doc) if doc else None
        drifted = self._drifted.setdefault(model, {})
        if inputs is not None and inputs.drifted and inputs.since is not None and inputs.acknowledged_at is None:
            drifted[node_id] = inputs.since
        else:
            drifted.pop(node_id, None)

    async def _see(self, model: str) -> tuple[ModelView, Doc | None]:
        of = self._view.of
        drifted = dict(self._drifted.get(model, {}))
        presences = of("presence")
        there = {id for id in drifted if (held := presences.get(id)) is not None and held.record.connected}
        memory = await self._core.ledger.get(KIND, model)
        runs = sorted((held.record for held in of("run").values()), key=lambda run: (run.created_at, run.run_id))
        releases = sorted((held.record for held in of("release").values()), key=lambda r: (r.created_at, r.release_id))
        seen = ModelView(
            model,
            drifted,
            runs,
            [release for release in releases if release.model == model],
            {id: held.record for id, held in of("rollout").items()},
            load(Memory, memory) if memory else Memory(),
            frozenset(drifted) - there,
            self._took,
        )
        return seen, memory

    def _took(self, rollout_id: str, node_id: str) -> bool:
        held = self._view.of(ASSIGNMENT).get(assignment_id(rollout_id, node_id))
        return held is not None and held.record.state is AssignmentState.COMMITTED
