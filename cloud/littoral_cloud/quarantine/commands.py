"""What an operator may do: put a node in quarantine, and end it."""

from __future__ import annotations

from dataclasses import replace

from littoral.errors import BadInput
from littoral_cloud.fleet.edit import edit
from littoral_cloud.fleet.ledger import Audit, Ledger
from littoral_cloud.fleet.nodes import find_node
from littoral_cloud.fleet.quarantine import KIND, NodeTrouble, Quarantine, ended
from littoral_cloud.fleet.records import Enrolment, Node

LONGEST_S = 366 * 86_400.0


async def quarantine(
    ledger: Ledger, name_or_id: str, now: float, *, reason: str, actor: str, lasts_s: float | None = None
) -> Node:
    """From now on no update and no federated round reaches the node; what it was asked for before goes on.

    Args:
        lasts_s: None: until an operator ends it.

    Raises NotFound; BadInput where the node is not part of the fleet, is in quarantine already, or the time cannot be.
    """
    node = await find_node(ledger, name_or_id)
    if node.enrolment is not Enrolment.ACCEPTED:
        raise BadInput(f"node {node.name}: is {node.enrolment.value}: no update reaches it", hint="littoral-cloud node list")
    if lasts_s is not None and not 0 < lasts_s <= LONGEST_S:
        raise BadInput(
            f"--hours: {lasts_s / 3_600:g} must be more than 0 and at most {LONGEST_S / 3_600:g}", hint="like --hours 24"
        )

    def quarantined(before: NodeTrouble | None) -> NodeTrouble:
        trouble = before or NodeTrouble()
        if (known := trouble.quarantine) is not None:
            raise BadInput(f"node {node.name}: is in quarantine by {known.by}: {known.reason}", hint=_end(node))
        until = None if lasts_s is None else now + lasts_s
        return replace(trouble, quarantine=Quarantine(since=now, until=until, by=actor, reason=reason))

    line = Audit("node.quarantined", node.node_id, actor, {"reason": reason, "until": None if lasts_s is None else now + lasts_s})
    await edit(ledger, NodeTrouble, KIND, node.node_id, quarantined, lambda before, after: (line,))
    return node


async def end_quarantine(ledger: Ledger, name_or_id: str, now: float, *, actor: str) -> Node:
    """Updates and rounds reach the node again; its failures up to now do not count any more.

    Raises NotFound; BadInput where the node is not in quarantine.
    """
    node = await find_node(ledger, name_or_id)

    def out(before: NodeTrouble | None) -> NodeTrouble:
        if before is None or before.quarantine is None:
            raise BadInput(f"node {node.name}: is not in quarantine", hint="littoral-cloud node list")
        return ended(before, now)

    line = Audit("node.quarantine-ended", node.node_id, actor)
    await edit(ledger, NodeTrouble, KIND, node.node_id, out, lambda before, after: (line,))
    return node


def _end(node: Node) -> str:
    return f"littoral-cloud node end-quarantine {node.name}"
