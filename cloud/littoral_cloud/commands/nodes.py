"""Use cases of nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from littoral_cloud.commands.paging import behind, cursor
from littoral_cloud.commands.use_case import Office, use_case
from littoral_cloud.fleet import nodes as fleet
from littoral_cloud.fleet.nodes import NodeView, ServedModel
from littoral_cloud.fleet.quarantine import Quarantine
from littoral_cloud.fleet.records import Node, load
from littoral_cloud.quarantine import commands as quarantines
from littoral_cloud.terminal.text import when
from littoral_cloud.trust.people import Caller, Role

LIST = "nodes"
_PAGE = 200
"""Nodes whose documents are read at one time."""


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

    def has_labels(self, labels: Mapping[str, str]) -> bool:
        return all(labels.get(key) == value for key, value in self.labels.items())

    def takes(self, view: NodeView) -> bool:
        return (
            self.has_labels(view.node.labels)
            and (not self.state or self.state in view.state.split(", "))
            and (not self.model or any(model.model == self.model for model in view.models))
        )


@use_case("node.list", Role.VIEWER)
async def page(office: Office, caller: Caller, *, which: NodeFilter, after: str, limit: int) -> NodePage:
    """The next nodes, by name."""
    now, found = office.core.clock(), list[NodeView]()
    waiting = await _ids_after(office, behind(LIST, after), which, caller)
    for start in range(0, len(waiting), _PAGE):
        some = await fleet.view_nodes_of(office.core.ledger, waiting[start : start + _PAGE], now)
        found += [view for view in some if which.takes(view)]
        if len(found) > limit:
            break
    more, found = len(found) > limit, found[:limit]
    return NodePage(items=tuple(_shown(view, now) for view in found), next=cursor(LIST, found[-1].node.name if more else ""))


async def _ids_after(office: Office, after: str, which: NodeFilter, caller: Caller) -> Sequence[str]:
    """Of nodes behind a name whose labels match, by name."""

    def matches(node: Node) -> bool:
        return which.has_labels(node.labels) and caller.scope.has_node(node.labels)

    if office.view is not None and office.names is not None:
        await office.view.ready()
        nodes = office.view.of("node")
        return [id for id in office.names.after(after) if matches(nodes[id].record)]
    every = [load(Node, doc) for doc in await office.core.ledger.all("node")]
    every.sort(key=lambda node: (node.name, node.node_id))
    return [node.node_id for node in every if node.name > after and matches(node)]


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
        hardware=dict(presence.hardware) if presence else {},
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
