"""Who is in the fleet: what an operator decides of a node.

from \\ to       accept      reject      revoke      decommission (littoral_cloud.fleet.nodes)
PENDING         ACCEPTED    REJECTED    REVOKED     DECOMMISSIONED
ACCEPTED        -           refused     REVOKED     DECOMMISSIONED
REVOKED         ACCEPTED    refused     -           DECOMMISSIONED
REJECTED        refused     -           refused     DECOMMISSIONED
DECOMMISSIONED  refused     refused     refused     -

Every coordinator sees the change of the node's document and ends at once what the node has open there: its session, its blobs,
its questions to a teacher. A refusal is BadInput and changes nothing; "-" changes nothing either.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from littoral.errors import BadInput, NotFound, Revoked
from littoral_cloud.fleet.edit import revise
from littoral_cloud.fleet.ledger import Audit, Ledger
from littoral_cloud.fleet.membership import OUT_FOR_EVER, Enrolment
from littoral_cloud.fleet.nodes import LIST_HINT, find_node, forget
from littoral_cloud.fleet.records import Node
from littoral_cloud.fleet.sessions import end_task

REVOKED = Revoked.code
MOST_REASON = 200


async def accept(ledger: Ledger, name_or_id: str, now: float, *, actor: str) -> Node:
    """Lets a node in that waits or was revoked: it comes back by itself, within the grace that starts now.

    Raises NotFound; BadInput where it is out for ever.
    """

    def change(node: Node) -> Node:
        if node.enrolment in OUT_FOR_EVER:
            raise BadInput(
                f"node {node.name}: was {node.enrolment.value}, for ever", hint="empty its data folder there, and enrol it anew"
            )
        return node if node.enrolment is Enrolment.ACCEPTED else replace(node, enrolment=Enrolment.ACCEPTED, accepted_at=now)

    return await _changed(ledger, name_or_id, change, "node.accepted", actor)


async def reject(ledger: Ledger, name_or_id: str, *, actor: str) -> Node:
    """Lets a node that waits never in; its name is free. Raises NotFound; BadInput where it does not wait."""

    def change(node: Node) -> Node:
        if node.enrolment not in (Enrolment.PENDING, Enrolment.REJECTED):
            raise BadInput(
                f"node {node.name}: is {node.enrolment.value}, it does not wait",
                hint=f"littoral-cloud node revoke {node.name}, or decommission",
            )
        return replace(node, enrolment=Enrolment.REJECTED)

    node = await _changed(ledger, name_or_id, change, "node.rejected", actor)
    await forget(ledger, node.node_id)
    return node


async def revoke(ledger: Ledger, name_or_id: str, *, reason: str, actor: str) -> Node:
    """Takes a node out at once, until an operator accepts it again; its documents stay.

    Raises NotFound; BadInput where it is out for ever, or the reason is no line of text.
    """
    if len(reason) > MOST_REASON or not reason.isprintable():
        raise BadInput(f"reason: {reason[:40]!r} must be one line of at most {MOST_REASON} characters", hint="shorten it")

    def change(node: Node) -> Node:
        if node.enrolment in OUT_FOR_EVER:
            raise BadInput(f"node {node.name}: was {node.enrolment.value} already", hint=LIST_HINT)
        return replace(node, enrolment=Enrolment.REVOKED)

    node = await _changed(ledger, name_or_id, change, "node.revoked", actor, reason=reason)
    await end_task(ledger, node.node_id, REVOKED, f"node {node.name} was revoked")
    return node


async def _changed(
    ledger: Ledger, name_or_id: str, change: Callable[[Node], Node], action: str, actor: str, **details: str
) -> Node:
    found = await find_node(ledger, name_or_id)
    return await revise(
        ledger,
        Node,
        "node",
        found.node_id,
        change,
        Audit(action, found.node_id, actor, {"name": found.name, **details}),
        missing=NotFound(f"node: there is no {name_or_id!r} any more", hint=LIST_HINT),
    )
