"""Who is in the fleet: what an operator decides of a node.

from \\ to       accept      reject      revoke      decommission (littoral_cloud.fleet.nodes)
PENDING         ACCEPTED    REJECTED    REVOKED     DECOMMISSIONED
ACCEPTED        -           refused     REVOKED     DECOMMISSIONED
REVOKED         ACCEPTED    refused     -           DECOMMISSIONED
REJECTED        refused     -           refused     DECOMMISSIONED
DECOMMISSIONED  refused     refused     refused     -

`replace_node` gives the place of one node to another: it takes over name, labels and models, and the first is decommissioned.

Every coordinator sees the change of the node's document and ends at once what the node has open there: its session, its blobs,
its questions to a teacher. A refusal is BadInput and changes nothing; "-" changes nothing either.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from littoral.errors import BadInput, NotFound, Revoked
from littoral_cloud.fleet.edit import edit, repeat_on_conflict, revise
from littoral_cloud.fleet.ledger import Audit, Change, Ledger, Write
from littoral_cloud.fleet.membership import OUT_FOR_EVER, Enrolment
from littoral_cloud.fleet.nodes import LIST_HINT, find_node, forget
from littoral_cloud.fleet.records import Desired, Node, dump, load
from littoral_cloud.fleet.sessions import desired_of, end_task

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


async def replace_node(ledger: Ledger, old: str, new: str, now: float, *, actor: str) -> Node:
    """Puts a node in the place of another one whose machine is gone: it gets the name, the labels and the models that are wanted.
    The old one is decommissioned. What it measured and learned of drift goes with it: the new machine is another one.

    May be repeated with ids where it ended half way. Raises NotFound; BadInput where they are one node, or one of them is out.
    """
    before, after = await find_node(ledger, old), await find_node(ledger, new)
    if before.node_id == after.node_id:
        raise BadInput(f"node {before.name}: cannot replace itself", hint="littoral-cloud node replace OLD NEW")
    for node, states in ((before, OUT_FOR_EVER), (after, OUT_FOR_EVER | {Enrolment.REVOKED})):
        if node.enrolment in states:
            raise BadInput(f"node {node.name}: is {node.enrolment.value}", hint=LIST_HINT)
    _, wanted = await desired_of(ledger, before.node_id)
    await edit(ledger, Desired, "desired", after.node_id, lambda desired: _with_models(desired or Desired(), wanted))

    async def attempt() -> Node:
        kinds = [("node", before.node_id), ("node", after.node_id), ("node-name", before.name), ("node-name", after.name)]
        gone, here, name, freed = await ledger.get_many(kinds)
        if gone is None or here is None:
            raise NotFound(f"node: {old!r} or {new!r} is not there any more", hint=LIST_HINT)
        made = replace(load(Node, here), name=before.name, labels=before.labels, enrolment=Enrolment.ACCEPTED, accepted_at=now)
        out = replace(load(Node, gone), enrolment=Enrolment.DECOMMISSIONED)
        writes = [
            Write("node", out.node_id, dump(out), gone.generation),
            Write("node", made.node_id, dump(made), here.generation),
            Write("node-name", made.name, {"node_id": made.node_id}, name.generation if name else 0),
        ]
        if freed is not None and after.name != before.name:
            writes.append(Write("node-name", after.name, None, freed.generation))
        details = {"name": made.name, "was": after.name, "replaced": out.node_id}
        lines = (
            Audit("node.replaced", made.node_id, actor, details),
            Audit("node.decommissioned", out.node_id, actor, {"name": out.name, "replaced_by": made.node_id}),
        )
        await ledger.commit(Change(tuple(writes), lines))
        return made

    made = await repeat_on_conflict(attempt)
    await end_task(ledger, before.node_id, REVOKED, f"node {before.name} was replaced")
    await forget(ledger, before.node_id)
    return made


def _with_models(desired: Desired, wanted: Desired) -> Desired:
    """Each model as it is wanted of the other node, as a change of this one's."""
    for name, model in wanted.models.items():
        own = desired.models.get(name)
        if own is None or own.manifest_digest != model.manifest_digest:
            desired = desired.with_model(name, replace(model, generation=(own.generation if own else 0) + 1))
    return desired
