"""Use case of a node's candidates: what it could serve, what each was measured to cost, and why it serves what it does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from littoral.budget import ESTIMATE
from littoral_cloud.commands.use_case import Office, use_case
from littoral_cloud.fleet.nodes import find_node, names_of
from littoral_cloud.rollouts.artifact_choice import Row
from littoral_cloud.rollouts.explain import explain_node
from littoral_cloud.trust.people import Caller, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateShown:
    """One candidate. `measured_on`: the name of that node. `energy_estimated`: from processor time, and no budget counts it."""

    row: Row
    measured_on: str
    energy_estimated: bool
    serving: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOnNode:
    """One model on one node, and all its candidates. `release`: the one that the node follows; "": none has passed."""

    release: str
    budget: str
    conditions: tuple[str, ...]
    remark: str
    candidates: tuple[CandidateShown, ...]


@use_case("node.explain", Role.VIEWER)
async def explain(office: Office, caller: Caller, *, node: str, model: str) -> Mapping[str, ModelOnNode]:
    """All candidates of a node, by model, with the limits that exclude them. `model`: this one alone; "": every one."""
    ledger = office.core.ledger
    record = await find_node(ledger, node)
    caller.needs_node(record.name, record.labels)
    if model:
        caller.needs_model(model)
    found = await explain_node(ledger, record.node_id, model or None)
    names = await names_of(ledger, (row.measured_on for of in found.values() for row in of.rows if row.measured_on))
    return {
        name: ModelOnNode(
            release=of.release,
            budget=str(of.budget),
            conditions=of.conditions,
            remark=of.remark,
            candidates=tuple(
                CandidateShown(
                    row=row,
                    measured_on=names.get(row.measured_on, row.measured_on),
                    energy_estimated=row.energy_source == ESTIMATE,
                    serving=row.manifest_digest == of.serving,
                )
                for row in of.rows
            ),
        )
        for name, of in found.items()
        if caller.scope.has_model(name)
    }
