"""What is wanted of one node, in its desired state: its candidate, or what it had before. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from littoral_cloud.fleet.records import Desired, DesiredModel, Probation
from littoral_cloud.rollouts.assignments import Assignment
from littoral_cloud.rollouts.fleet_node import FleetNode
from littoral_cloud.rollouts.plan import previous
from littoral_cloud.rollouts.seen import RolloutView

UNJUDGED = Probation(duration_s=0.0, max_accuracy_drop=1.0, max_failure_rate=1.0)
"""For the way back: what served before is not judged again."""
FALSE_STOPS = 0.01
"""The chance that the judgement of any of its nodes stops a rollout of a good release: each node gets an equal part of it."""
MAX_SAID = 2**52
"""What a node says that it was asked for counts below this alone: no cloud ever came so far."""


def candidate(node: FleetNode, a: Assignment, seen: RolloutView) -> tuple[Desired, dict[str, Any]]:
    """With the node's candidate; and what the assignment keeps, to go back and to know the node's answer."""
    model, before = seen.rollout.model, node.wanted(seen.rollout.model)
    generation = next_generation(node, model)
    wanted = DesiredModel(
        manifest_digest=a.manifest_digest,
        rollout_id=seen.rollout_id,
        generation=generation,
        probation=replace(seen.rollout.policy.probation, error=FALSE_STOPS / max(1, seen.rollout.planned)),
        chosen_for=a.chosen_for,
        defer_s=seen.rollout.policy.defer_s,
    )
    kept = {
        "generation": generation,
        "previous": previous(node, seen),
        "previous_for": before.chosen_for if before else None,
    }
    return node.desired.with_model(model, wanted), kept


def back(node: FleetNode, a: Assignment, model: str) -> tuple[Desired, int]:
    """With what the node had before, and the generation of that; 0: it had nothing, and the model is wanted of it no more."""
    if not a.previous:
        return node.desired.without_model(model), 0
    generation = next_generation(node, model)
    before = DesiredModel(
        manifest_digest=a.previous,
        rollout_id=a.rollout_id,
        generation=generation,
        probation=UNJUDGED,
        chosen_for=a.previous_for,
    )
    return node.desired.with_model(model, before), generation


def next_generation(node: FleetNode, model: str) -> int:
    """Larger than any that the node ever saw of this model, over withdrawals and a ledger that began anew."""
    report = node.report(model)
    said = report.desired_generation + 1 if report and report.desired_generation < MAX_SAID else 1
    return max(node.desired_generation + 1, node.desired.next_generation_of(model), said)
