"""Use cases of who is in the fleet; what each does is in littoral_cloud.fleet.admitting."""

from __future__ import annotations

from dataclasses import dataclass

from littoral_cloud.commands.nodes import NodeShown, found_node, shown_node
from littoral_cloud.commands.use_case import Office, use_case
from littoral_cloud.fleet import admitting, expected
from littoral_cloud.fleet.expected import fleet_from
from littoral_cloud.trust.people import Caller, Role


@use_case("node.accept", Role.OPERATOR)
async def accept(office: Office, caller: Caller, *, node: str) -> NodeShown:
    """Lets a node in that waits or was revoked."""
    found = await found_node(office, caller, node)
    now = office.core.clock()
    return await shown_node(office, await admitting.accept(office.core.ledger, found.node_id, now, actor=caller.name))


@use_case("node.reject", Role.OPERATOR)
async def reject(office: Office, caller: Caller, *, node: str) -> NodeShown:
    """Lets a node never in that waits."""
    found = await found_node(office, caller, node)
    return await shown_node(office, await admitting.reject(office.core.ledger, found.node_id, actor=caller.name))


@use_case("node.revoke", Role.OPERATOR)
async def revoke(office: Office, caller: Caller, *, node: str, reason: str) -> NodeShown:
    """Takes a node out at once, until it is accepted again."""
    found = await found_node(office, caller, node)
    out = await admitting.revoke(office.core.ledger, found.node_id, reason=reason, actor=caller.name)
    return await shown_node(office, out)


@use_case("node.replace", Role.ADMIN)
async def replace(office: Office, caller: Caller, *, node: str, by: str) -> NodeShown:
    """Gives the place of a node to another one; the first is decommissioned."""
    old, new = await found_node(office, caller, node), await found_node(office, caller, by)
    now = office.core.clock()
    made = await admitting.replace_node(office.core.ledger, old.node_id, new.node_id, now, actor=caller.name)
    return await shown_node(office, made)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedFleet:
    expected: int


@use_case("node.import", Role.ADMIN)
async def import_fleet(office: Office, caller: Caller, *, text: str) -> ImportedFleet:
    """Expects the machines of a CSV, by hardware id."""
    for node in fleet_from(text).values():
        caller.needs_node(node.name or "a machine of the list", node.labels)
    return ImportedFleet(expected=await expected.import_fleet(office.core.ledger, text, actor=caller.name))
