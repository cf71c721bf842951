"""Use cases of nodes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from littoral.errors import BadInput
from littoral_cloud.commands.paging import behind, cursor
from littoral_cloud.commands.use_case import Office, use_case
from littoral_cloud.fleet import nodes as fleet
from littoral_cloud.fleet.nodes import NodeView, ServedModel
from littoral_cloud.fleet.profile import PRESENCE
from littoral_cloud.fleet.quarantine import KIND as TROUBLE
from littoral_cloud.fleet.quarantine import Quarantine
from littoral_cloud.fleet.records import Enrolment, Node, Presence, load
from littoral_cloud.fleet.view import FleetView
from littoral_cloud.health.fleet_counts import state_of
from littoral_cloud.quarantine import commands as quarantines
from littoral_cloud.terminal.text import when
from littoral_cloud.trust.people import Caller, Role

LIST = "nodes"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantineShown:
    since: str
    until: str | None
    by: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeShown:
    """A node as operators see it. Times are texts in UTC; sizes are bytes."""

    id: str
    name: str
    state: str
    labels: Mapping[str, str]
    enrolled: str
    certificate_expires: str
    warning: str | None
    runs_twice_from: tuple[str, ...]
    quarantine: QuarantineShown | None
    failures: tuple[str, ...]
    since: str | None
    agent_version: str | None
    protocol_version: int | None
    features: tuple[str, ...]
    runtimes: tuple[str, ...]
    hardware_class: str | None
    hardware: Mapping[str, Any]
    budgets: Mapping[str, str]
    memory_bytes: int | None  # for all models
    disk_bytes: int | None
    requests: int | None
    conditions: Mapping[str, Any]
    update_window: str | None
    time_zone: str | None
    labelled_examples: Mapping[str, int]
    problem: str | None
    models: tuple[ServedModel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePage:
    """`next`: `after` of the next page; empty: this is the last."""

    items: tuple[NodeShown, ...]
    next: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFilter:
    """Empty: every node."""

    labels: Mapping[str, str] = field(default_factory=dict)
    state: str = ""
    model: str = ""
    text: str = ""  # in its name or id, in any case

    def has_labels(self, labels: Mapping[str, str]) -> bool:
        return all(labels.get(key) == value for key, value in self.labels.items())

    def takes(self, node: Node, state: str, models: Iterable[str]) -> bool:
        return (
            self.has_labels(node.labels)
            and (not self.text or self.text.lower() in node.name.lower() or self.text.lower() in node.node_id)
            and (not self.state or self.state in state.split(", "))
            and (not self.model or self.model in models)
        )


class NodeOrder(StrEnum):
    NAME = "name"
    STATE = "state"
    SINCE = "since"  # its last connect or disconnect


@use_case("node.list", Role.VIEWER)
async def page(
    office: Office, caller: Caller, *, which: NodeFilter, after: str, limit: int, order: NodeOrder = NodeOrder.NAME
) -> NodePage:
    """The next nodes, in an order; by name where that is equal. By name, what is looked at does not grow with the fleet."""
    now, place = office.core.clock(), behind(LIST, after)
    if order is NodeOrder.NAME:
        rows = await _behind_name(office, which, caller, place, limit, now)
    else:
        rows = await _in_order(office, which, caller, order, place, now)
    some = rows[:limit]
    shown = [_shown(view, now) for view in await fleet.view_nodes_of(office.core.ledger, [id for *_, id in some], now)]
    there = "" if len(rows) <= limit else some[-1][1] if order is NodeOrder.NAME else f"{order}={some[-1][0]}={some[-1][1]}"
    return NodePage(items=tuple(shown), next=cursor(LIST, there))


_Row = tuple[str, str, str]
"""Of a node: what it is ordered by before its name, its name, its id."""


async def _behind_name(office: Office, which: NodeFilter, caller: Caller, name: str, limit: int, now: float) -> list[_Row]:
    """One more than `limit`, where there is one."""
    found: list[_Row] = []
    if office.view is not None and office.names is not None:
        await office.view.ready()
        for id in office.names.after(name):
            node, state, models = _seen(office.view, id, now)
            if caller.scope.has_node(node.labels) and which.takes(node, state, models):
                found.append(("", node.name, id))
                if len(found) > limit:
                    break
        return found
    rows = await _of_ledger(office, which, caller, NodeOrder.NAME, now)
    return [row for row in rows if row[1] > name]


async def _in_order(office: Office, which: NodeFilter, caller: Caller, order: NodeOrder, place: str, now: float) -> list[_Row]:
    """All behind a place. Raises BadInput where the place is of another order."""
    if office.view is None:
        rows = await _of_ledger(office, which, caller, order, now)
    else:
        await office.view.ready()
        rows = []
        for id, held in office.view.of("node").items():
            node, state, models = _seen(office.view, id, now)
            if caller.scope.has_node(node.labels) and which.takes(node, state, models):
                presence = office.view.of(PRESENCE).get(id)
                rows.append((_key(order, state, presence.record if presence else None), held.record.name, id))
        rows.sort()
    if not place:
        return rows
    of, _, rest = place.partition("=")
    key, equals, name = rest.partition("=")
    if of != order or not equals:
        raise BadInput(f"after: {place[:80]!r} is no place in this order", hint="begin at the first page")
    return rows[bisect_right(rows, (key, name, "\U0010ffff")) :]


async def _of_ledger(office: Office, which: NodeFilter, caller: Caller, order: NodeOrder, now: float) -> list[_Row]:
    rows = []
    for view in await fleet.view_nodes(office.core.ledger, now):
        models = [model.model for model in view.models]
        if caller.scope.has_node(view.node.labels) and which.takes(view.node, view.state, models):
            rows.append((_key(order, view.state, view.presence), view.node.name, view.node.node_id))
    return sorted(rows)


def _key(order: NodeOrder, state: str, presence: Presence | None) -> str:
    since = presence.since if presence else 0.0
    return {NodeOrder.NAME: "", NodeOrder.STATE: state, NodeOrder.SINCE: f"{since:017.6f}"}[order]


def _seen(view: FleetView, id: str, now: float) -> tuple[Node, str, Iterable[str]]:
    """A node, its state as NodeView has it, and its models."""
    held, trouble, reported = view.of(PRESENCE).get(id), view.of(TROUBLE).get(id), view.of("reported").get(id)
    node: Node = view.of("node")[id].record
    state = state_of(node, held.record if held else None, now)
    if node.enrolment is Enrolment.ACCEPTED and trouble is not None and trouble.record.quarantine is not None:
        state += ", quarantined"
    return node, state, reported.record.models if reported else ()


async def found_node(office: Office, caller: Caller, name_or_id: str) -> Node:
    """Raises NotFound, BadInput; Denied where it is outside the caller's scope."""
    found = await fleet.find_node(office.core.ledger, name_or_id)
    caller.needs_node(found.name, found.labels)
    return found


async def shown_node(office: Office, node: Node) -> NodeShown:
    now = office.core.clock()
    return _shown(await fleet.view_node(office.core.ledger, node, now), now)


@use_case("node.show", Role.VIEWER)
async def show(office: Office, caller: Caller, *, node: str) -> NodeShown:
    """One node, by its name or id."""
    found = await found_node(office, caller, node)
    return await shown_node(office, found)


@use_case("node.names", Role.VIEWER)
async def names(office: Office, caller: Caller, *, node_ids: tuple[str, ...]) -> Mapping[str, str]:
    """What these nodes are called, by id. One that is gone, or outside of the caller's scope, is not in it."""
    found = await office.core.ledger.get_many([("node", id) for id in node_ids])
    nodes = [load(Node, doc) for doc in found if doc is not None]
    return {node.node_id: node.name for node in nodes if caller.scope.has_node(node.labels)}


@use_case("node.decommission", Role.ADMIN)
async def decommission(office: Office, caller: Caller, *, node: str) -> NodeShown:
    """Takes a node out of the fleet for good."""
    found = await found_node(office, caller, node)
    gone = await fleet.decommission(office.core.ledger, found.node_id, caller.name)
    return await shown_node(office, gone)


@use_case("node.quarantine", Role.OPERATOR)
async def quarantine(office: Office, caller: Caller, *, node: str, reason: str, lasts_s: float | None) -> NodeShown:
    """Leaves a node out of updates and federated rounds."""
    found = await found_node(office, caller, node)
    core, now = office.core, office.core.clock()
    await quarantines.quarantine(core.ledger, found.node_id, now, reason=reason, actor=caller.name, lasts_s=lasts_s)
    return await shown_node(office, found)


@use_case("node.end-quarantine", Role.OPERATOR)
async def end_quarantine(office: Office, caller: Caller, *, node: str) -> NodeShown:
    """Updates and rounds reach a node again."""
    found = await found_node(office, caller, node)
    core, now = office.core, office.core.clock()
    await quarantines.end_quarantine(core.ledger, found.node_id, now, actor=caller.name)
    return await shown_node(office, found)


def _quarantine(quarantine: Quarantine | None) -> QuarantineShown | None:
    if quarantine is None:
        return None
    until = when(quarantine.until) if quarantine.until is not None else None
    return QuarantineShown(since=when(quarantine.since), until=until, by=quarantine.by, reason=quarantine.reason)


def _shown(view: NodeView, now: float) -> NodeShown:
    node, presence = view.node, view.presence
    return NodeShown(
        id=node.node_id,
        name=node.name,
        state=view.state,
        labels=dict(node.labels),
        enrolled=when(node.enrolled_at),
        certificate_expires=when(node.certificate_expires_at),
        warning=view.certificate_warning(now) or None,
        runs_twice_from=tuple(view.twins),
        quarantine=_quarantine(view.trouble.quarantine),
        failures=tuple(f"{when(each.at)} {each.of}: {each.reason}" for each in view.trouble.failures),
        since=when(presence.since) if presence else None,
        agent_version=presence.agent_version if presence else None,
        protocol_version=presence.protocol_version if presence else None,
        features=tuple(presence.features) if presence else (),
        runtimes=tuple(presence.runtimes) if presence else (),
        hardware_class=presence.hardware_class if presence else None,
        hardware=_hardware(presence.hardware) if presence else {},
        budgets={name or "*": str(budget) for name, budget in presence.budgets.items()} if presence else {},
        memory_bytes=presence.limits.memory_bytes if presence else None,
        disk_bytes=presence.limits.disk_bytes if presence else None,
        requests=presence.limits.requests if presence else None,
        conditions=dict(presence.conditions) if presence else {},
        update_window=(presence.update_window or None) if presence else None,
        time_zone=(presence.time_zone or None) if presence else None,
        labelled_examples=dict(presence.labelled_examples) if presence else {},
        problem=view.problem or None,
        models=tuple(view.models),
    )


def _hardware(profile: Mapping[str, Any]) -> dict[str, Any]:
    """With sizes as numbers: protobuf's JSON writes integers of 64 bits as texts."""
    return {
        key: int(value) if key.endswith("_bytes") and isinstance(value, str) and value.isdecimal() else value
        for key, value in profile.items()
    }
