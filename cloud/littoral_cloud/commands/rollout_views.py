"""Use cases that read rollouts: the list, one with its nodes and gates, what it waits for, how far it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

from littoral_cloud.commands.archived import or_archived
from littoral_cloud.commands.paging import Page, moment_key, page_of
from littoral_cloud.commands.rollout_nodes import AssignedNode, assigned_nodes
from littoral_cloud.commands.use_case import Office, use_case
from littoral_cloud.commands.viewing import apart, rollout_seen
from littoral_cloud.fleet.records import Node, load
from littoral_cloud.rollouts.assignments import KIND as ASSIGNMENT
from littoral_cloud.rollouts.assignments import Assignment, assignment_id
from littoral_cloud.rollouts.commands import no_rollout, read_rollout
from littoral_cloud.rollouts.events import Waits
from littoral_cloud.rollouts.explanation import NEXT_STEP, NodesInState, explain_rollout
from littoral_cloud.rollouts.gates import GATES
from littoral_cloud.rollouts.gating import limits_of, verdicts_of
from littoral_cloud.rollouts.judge import observe
from littoral_cloud.rollouts.permission import not_yet
from littoral_cloud.rollouts.seen import RolloutView
from littoral_cloud.rollouts.state import ENDED, KIND, Rollout, RolloutState
from littoral_cloud.terminal.text import when
from littoral_cloud.trust.people import Caller, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutShown(Rollout):
    """A rollout as its document says. Times are seconds since 1970-01-01 UTC."""

    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GateShown:
    """What a gate says of a running rollout. `named`: it was asked for; a gate that was not only stops.

    Attributes:
        more, of: evidence that is still missing, and its unit; None: it has decided, or cannot say.
        why: its evidence, in words with figures.
    """

    gate: str
    limit: float
    named: bool
    answer: str
    more: int | None
    of: str | None
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutDetail(RolloutShown):
    """Attributes:
    waits_for: what must come before the rollout goes on, in words.
    gates: of the running wave.
    nodes: some of them, by their ids. `next`: `after` of the next page; empty: this is the last.
    generation: of the rollout's document, for If-Match.
    archived: the coordinator's file in which it lies; None: in the ledger.
    """

    waits_for: tuple[str, ...]
    gates: tuple[GateShown, ...]
    nodes: tuple[AssignedNode, ...]
    generation: int
    next: str = ""
    archived: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedRollout:
    """Times are texts in UTC; None: there is none.

    Attributes:
        since: when it came to its state, or was paused, or ended.
        until: when what it waits for comes by itself, or is given up; `then`: what happens at that time.
        movers: who can move it before, and by what.
        promotable: whether an operator may start the next wave now.
    """

    rollout: str
    state: RolloutState
    paused_by: str
    since: str
    waits_for: tuple[str, ...]
    until: str | None
    then: str
    movers: tuple[str, ...]
    nodes: tuple[NodesInState, ...]
    reason: str
    promotable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownGate:
    gate: str
    limit: float
    unit: str
    asks: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutProgress:
    """How far a rollout is, for who follows it.

    Attributes:
        wave, waves: the number of the running wave, 0 without one, and how many there are to be.
        size, told: nodes of the running wave, and those that were asked so far.
        first, first_names: ids and names of those that were asked first.
        waits_for: what it waits for before it may begin.
        no_coordinator: why it does not move; empty: a coordinator runs.
        served_by: once it SUCCEEDED, name and id of the first node.
        served: the manifest's digest that this node has.
    """

    id: str
    model: str
    state: RolloutState
    ended: bool
    paused_by: str
    reason: str
    waits_for: tuple[str, ...]
    wave: int
    waves: int
    size: int
    told: int
    first: tuple[str, ...]
    first_names: tuple[str, ...]
    no_coordinator: str = ""
    served_by: tuple[str, str] | None = None
    served: str = ""
    student: str = ""


@use_case("rollout.list", Role.VIEWER)
async def page(
    office: Office, caller: Caller, *, after: str, limit: int, model: str = "", newest_first: bool = False
) -> Page[RolloutShown]:
    """The rollouts of the caller's models, by the time of their start."""
    return page_of(
        [(doc.id, load(Rollout, doc)) for doc in await office.core.ledger.all(KIND) if _asked(doc.body, caller, model)],
        lambda each: moment_key(each[1].created_at, each[0]),
        lambda each: RolloutShown(id=each[0], **_fields(each[1])),
        of="rollouts",
        after=after,
        limit=limit,
        descending=newest_first,
    )


def _asked(body: Mapping[str, Any], caller: Caller, model: str) -> bool:
    return caller.scope.has_model(body["model"]) and model in ("", body["model"])


@use_case("rollout.show", Role.VIEWER)
async def show(office: Office, caller: Caller, *, rollout_id: str, after: str, limit: int) -> RolloutDetail:
    """One rollout, what it waits for, what its gates say, and some of its nodes."""
    core, generation = office.core, 0

    async def read() -> Rollout:
        nonlocal generation
        doc, rollout = await read_rollout(core.ledger, rollout_id)
        generation = doc.generation
        return rollout

    found, place = await or_archived(core, Rollout, KIND, rollout_id, read())
    caller.needs_model(found.model)
    waits: tuple[str, ...] = ()
    gates: tuple[GateShown, ...] = ()
    if found.state not in ENDED and (seen := await rollout_seen(office, rollout_id)) is not None:
        event, gates = await apart(observe, seen, core.clock()), _gates(seen) if found.state is RolloutState.WAVE else ()
        next_step = NEXT_STEP if office.fleet is not None else ("a running coordinator",)
        waits = event.waits_for if isinstance(event, Waits) else next_step
    nodes, following = await assigned_nodes(core, rollout_id, found, caller.scope, after=after, most=limit)
    return RolloutDetail(
        id=rollout_id,
        **_fields(found),
        waits_for=waits,
        gates=gates,
        nodes=nodes,
        generation=generation,
        next=following,
        archived=place.get("archived"),
    )


@use_case("rollout.explain", Role.VIEWER)
async def explain(office: Office, caller: Caller, *, rollout_id: str) -> ExplainedRollout:
    """What a rollout waits for, since when, until when, who can move it, and what happens then."""
    if (seen := await rollout_seen(office, rollout_id)) is None:
        raise no_rollout(rollout_id)
    caller.needs_model(seen.rollout.model)
    found = await apart(partial(explain_rollout, carried_out=office.fleet is not None), seen, office.core.clock())
    return ExplainedRollout(
        rollout=rollout_id,
        state=found.state,
        paused_by=found.paused_by,
        since=when(found.since),
        waits_for=found.waits_for,
        until=when(found.until) if found.until is not None else None,
        then=found.then,
        movers=found.movers,
        nodes=found.nodes,
        reason=found.reason,
        promotable=found.promotable,
    )


@use_case("rollout.gates", Role.VIEWER)
async def gates(office: Office, caller: Caller) -> tuple[KnownGate, ...]:
    """The gates that a rollout can have, what each asks, and its usual limit."""
    return known_gates()


def known_gates() -> tuple[KnownGate, ...]:
    return tuple(
        KnownGate(gate=gate.name, limit=gate.limit, unit=gate.unit, asks=gate.asks.format(limit=f"{gate.limit:g}"))
        for gate in GATES.values()
    )


@use_case("rollout.progress", Role.VIEWER)
async def progress(office: Office, caller: Caller, *, rollout_id: str) -> RolloutProgress:
    """How far a rollout is: its state, the running wave, what it waits for."""
    core = office.core
    _, rollout = await read_rollout(core.ledger, rollout_id)
    caller.needs_model(rollout.model)
    wave, early = rollout.running_wave, not_yet(rollout, rollout_id, core.clock())
    waits = early.waits_for if rollout.state is RolloutState.PENDING and isinstance(early, Waits) else ()
    first = rollout.waves[0].first[:1] if rollout.waves and rollout.state is RolloutState.SUCCEEDED else ()
    doc = await core.ledger.get(ASSIGNMENT, assignment_id(rollout_id, first[0])) if first else None
    given = load(Assignment, doc) if doc is not None else None
    names = await _names(office, (*(wave.first if wave else ()), *first))
    return RolloutProgress(
        id=rollout_id,
        model=rollout.model,
        state=rollout.state,
        ended=rollout.state in ENDED,
        paused_by=rollout.paused_by,
        reason=rollout.reason,
        waits_for=waits,
        wave=wave.number if wave else 0,
        waves=rollout.waves_started + rollout.waves_to_come,
        size=wave.size if wave else 0,
        told=wave.told if wave else 0,
        first=wave.first if wave else (),
        first_names=tuple(names[: len(wave.first)]) if wave else (),
        no_coordinator=_no_coordinator(office) if rollout.state not in ENDED else "",
        served_by=(names[-1], given.node_id) if given else None,
        served=given.manifest_digest if given else "",
        student=given.name if given else "",
    )


def _no_coordinator(office: Office) -> str:
    if office.view is not None:
        return ""
    settings = office.core.settings
    elsewhere = ", or one that serves this Redis from another machine" if settings.redis_url else ""
    return f"no coordinator runs on {settings.data_dir}: the rollout waits for one: littoral-cloud serve{elsewhere}"


async def _names(office: Office, node_ids: Sequence[str]) -> list[str]:
    docs = await office.core.ledger.get_many([("node", node_id) for node_id in node_ids])
    return [load(Node, doc).name if doc else node_id for node_id, doc in zip(node_ids, docs, strict=True)]


def _fields(rollout: Rollout) -> dict[str, Any]:
    return {each.name: getattr(rollout, each.name) for each in fields(Rollout)}


def _gates(seen: RolloutView) -> tuple[GateShown, ...]:
    """Of a rollout that goes on."""
    policy = seen.rollout.policy
    limits = limits_of(policy)
    return tuple(
        GateShown(
            gate=name,
            limit=limits[name],
            named=name in policy.gates,
            answer=verdict.answer.value,
            more=verdict.more or None,
            of=verdict.of or None,
            why=verdict.why,
        )
        for name, verdict in verdicts_of(seen).items()
    )
