"""What a node could serve, with what each candidate was measured to cost, and why it serves what it does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from littoral.budget import Budget
from littoral.errors import NotFound
from littoral_cloud.fleet.ledger import Ledger
from littoral_cloud.fleet.nodes import find_node
from littoral_cloud.fleet.records import Presence
from littoral_cloud.rollouts.artifact_choice import Row, explain
from littoral_cloud.rollouts.fleet_node import FleetNode
from littoral_cloud.rollouts.rechoice import Fleet, followed, holder
from littoral_cloud.rollouts.rechoice_controller import read_fleet
from littoral_cloud.rollouts.seen import nodes


@dataclass(frozen=True, slots=True)
class Explained:
    """One model on one node."""

    budget: Budget  # now
    conditions: tuple[str, ...]  # of the node's settings, that hold now
    release: str  # the one that the node follows; "": none has passed, and every artifact counts as a candidate
    serving: str  # manifest digest, by the node's last report; "": nothing
    remark: str  # what is going on; "": nothing
    rows: tuple[Row, ...]


async def explain_node(ledger: Ledger, name_or_id: str, model: str | None) -> Mapping[str, Explained]:
    """By model, every candidate there is, with what excludes it on this node.

    Args:
        model: None for every model.

    Raises NotFound where there is no such node, it never connected, or there is no such model.
    """
    found = await find_node(ledger, name_or_id)
    node = (await nodes(ledger, found.node_id))[found.node_id]
    if node.presence is None:
        raise NotFound(f"node {node.name}: never connected, so nothing is known of it", hint="start its agent")
    fleet = await read_fleet(ledger, found.node_id)
    models = {artifact.model for artifact in fleet.artifacts.values()}
    if model is not None and model not in models:
        raise NotFound(f"model: there is no {model!r}", hint=f"known are {', '.join(sorted(models)) or 'none yet'}")
    return {name: explained(node, node.presence, name, fleet) for name in sorted(models if model is None else {model})}


def explained(node: FleetNode, presence: Presence, model: str, fleet: Fleet) -> Explained:
    """Pure. The candidates are those of the release that the node follows; artifacts of other releases are listed as such."""
    sources = followed(node, model, fleet)
    best = (sources[-1] if node.wanted(model) else sources[0]) if sources else None  # what holds what it shall have is the last
    rows = explain(
        node.id,
        presence,
        [a for a in fleet.artifacts.values() if a.model == model],
        fleet.measurements,
        model=model,
        offered=None if best is None else {a.manifest_digest for a in best.seen.candidates},
        release=best.release_id if best else "",
    )
    return Explained(
        presence.budget_for(model),
        presence.in_force,
        best.release_id if best else "",
        node.serving(model),
        _remark(node, model, fleet),
        tuple(rows),
    )


def _remark(node: FleetNode, model: str, fleet: Fleet) -> str:
    assert node.presence is not None
    wanted = node.wanted(model)
    if (rollout := holder(node, model, fleet)) is not None:
        return f"{rollout} decides until it ends"
    if wanted is None:
        return ""
    if wanted.unfit:
        return f"keeps what it has: {wanted.unfit}"
    if wanted.chosen_for is not None and wanted.chosen_for != node.presence.budget_for(model):
        return "is to be chosen again: its budget is another one since" + ("" if node.connected else "; it is offline")
    return ""
