"""Use cases of federated runs."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from littoral_cloud.commands.archived import or_archived
from littoral_cloud.commands.paging import Page, moment_key, page_of
from littoral_cloud.commands.use_case import Office, use_case
from littoral_cloud.federation.evaluation import by_nodes
from littoral_cloud.federation.making import MadeRelease, make_release
from littoral_cloud.federation.participants import waits_for
from littoral_cloud.federation.run import KIND, FinishedRound, Run, all_runs, read_run, sitting_out, stop_run
from littoral_cloud.federation.start import start_run
from littoral_cloud.federation.terms import RunTerms
from littoral_cloud.fleet.nodes import find_node
from littoral_cloud.lineage.find import all_artifacts, find
from littoral_cloud.local.discovery import Serving
from littoral_cloud.terminal.text import when
from littoral_cloud.trust.people import LOOP, Caller, Denied, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class RunShown:
    """A run as operators see it.

    Args:
        round: how many are finished, of how many.
        nodes: how many have a reply in some round.
        waits_for: in words; empty in lists.
        by_nodes: accuracy on the nodes' held-out examples before the first round and before the last; none: not known.
        archived: the file that has it, where it is not in the ledger any more.
    """

    id: str
    state: str
    model: str
    round: str
    nodes: int
    seconds: float
    bytes_down: int
    bytes_up: int
    created: str
    reason: str
    detail: str | None
    strategy: str
    local_epochs: int
    learning_rate: float
    batch_size: int
    architecture: Mapping[str, Any]
    base: str
    weights: str
    data: str | None
    cohort: tuple[str, ...]
    participants: tuple[str, ...]
    sit_out: tuple[str, ...]
    min_replies: int
    origin: str
    finished: tuple[FinishedRound, ...]
    waits_for: tuple[str, ...] = ()
    rounds: int = 0
    ended: bool = False
    by_nodes: tuple[float, float] | None = None
    archived: str | None = None


@use_case("run.start", Role.OPERATOR)
async def start(
    office: Office,
    caller: Caller,
    *,
    model: str,
    terms: RunTerms,
    artifact: str = "",
    nodes: Sequence[str] = (),
    for_nodes: Sequence[str] = (),
    run_id: str = "",
) -> RunShown:
    """Starts a run: nodes learn from their own labelled data.

    Args:
        artifact: the base, by its name, its digest or the beginning of that; "": the most accurate one that is served.
        nodes: the names or ids of those that may take part; empty: every node that can.
        for_nodes: the base must fit the budgets of these.
        run_id: "": a new one.
    """
    core = office.core
    caller.needs_model(model)
    if caller.scope.labels and not nodes:
        raise Denied(
            f"nodes: a run asks every node where none is named, and the scope of {caller.name} is {caller.scope}",
            hint="name nodes of that scope",
        )
    of_model = [each for each in await all_artifacts(core.ledger) if each.model == model] if artifact else []
    run = await start_run(
        core,
        run_id=run_id or _new_id(model),
        model=model,
        terms=terms,
        base=find(of_model, artifact) if artifact else None,
        for_nodes=await _ids(office, caller, for_nodes),
        cohort=await _ids(office, caller, nodes),
        origin="loop" if caller is LOOP else "operator",
        actor=caller.name,
    )
    return _shown(run, waits_for=await _waits_for(office, run))


def _new_id(model: str) -> str:
    return f"{re.sub('[^A-Za-z0-9-]', '-', model)[:40]}-{secrets.token_hex(4)}"


async def _ids(office: Office, caller: Caller, names: Sequence[str]) -> list[str]:
    found = [await find_node(office.core.ledger, name) for name in names]
    for node in found:
        caller.needs_node(node.name, node.labels)
    return [node.node_id for node in found]


@use_case("run.list", Role.VIEWER)
async def page(office: Office, caller: Caller, *, after: str, limit: int, newest_first: bool = False) -> Page[RunShown]:
    """Runs, by the time when they were asked for."""
    mine = [run for run in await all_runs(office.core.ledger) if caller.scope.has_model(run.model)]
    return page_of(
        mine,
        lambda run: moment_key(run.created_at, run.run_id),
        _shown,
        of="runs",
        after=after,
        limit=limit,
        descending=newest_first,
    )


@use_case("run.show", Role.VIEWER)
async def show(office: Office, caller: Caller, *, run_id: str) -> RunShown:
    """One run, and what it waits for; also one that was archived."""
    run, place = await or_archived(office.core, Run, KIND, run_id, read_run(office.core.ledger, run_id))
    caller.needs_model(run.model)
    return _shown(run, waits_for=await _waits_for(office, run), archived=place.get("archived"))


@use_case("run.stop", Role.OPERATOR)
async def stop(office: Office, caller: Caller, *, run_id: str) -> RunShown:
    """Stops a run: it fails with the reason `stopped`, its worker ends, and the nodes drop their tasks."""
    core = office.core
    caller.needs_model((await read_run(core.ledger, run_id)).model)
    return _shown(await stop_run(core.ledger, run_id, core.clock(), actor=caller.name))


@use_case("run.release", Role.OPERATOR)
async def release(office: Office, caller: Caller, *, run_id: str, worse_too: bool = False) -> MadeRelease:
    """Makes a release of what a run learnt: exported, measured and signed in a child process. Takes minutes; again: the same one.

    Args:
        worse_too: also a result that is worse than its base.
    """
    run = await read_run(office.core.ledger, run_id)
    caller.needs_model(run.model)
    return await make_release(office.core, run_id, actor=caller.name, worse_too=worse_too)


async def _waits_for(office: Office, run: Run) -> tuple[str, ...]:
    core = office.core
    if not run.state.terminal and core.settings.redis_url is None and Serving.read(core.settings.data_dir) is None:
        return ("a running coordinator: littoral-cloud serve",)
    return tuple(await waits_for(core.ledger, run, core.clock()))


def _shown(run: Run, *, waits_for: tuple[str, ...] = (), archived: str | None = None) -> RunShown:
    return RunShown(
        id=run.run_id,
        state=run.state.value,
        model=run.model,
        round=f"{run.done}/{run.rounds}",
        nodes=len(run.participants),
        seconds=round(sum(run.seconds_per_round), 1),
        bytes_down=run.bytes_down,
        bytes_up=run.bytes_up,
        created=when(run.created_at),
        reason=run.reason,
        detail=run.detail or None,
        strategy=run.strategy,
        local_epochs=run.local_epochs,
        learning_rate=run.learning_rate,
        batch_size=run.batch_size,
        architecture=dict(run.architecture),
        base=run.base_manifest or run.base_weights,
        weights=run.weights,
        data=run.data or None,
        cohort=run.cohort,
        participants=run.participants,
        sit_out=sitting_out(run),
        min_replies=run.min_replies,
        origin=run.origin,
        finished=run.finished,
        waits_for=waits_for,
        rounds=run.rounds,
        ended=run.state.terminal,
        by_nodes=by_nodes(run),
        archived=archived,
    )
