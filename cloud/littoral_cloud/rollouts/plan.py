"""Who gets which candidate, and in which wave. Pure and deterministic: the same fleet gives the same plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from littoral.budget import Measured
from littoral.errors import NoFit
from littoral_cloud.fleet.presence import There
from littoral_cloud.fleet.quarantine import in_quarantine
from littoral_cloud.fleet.records import Enrolment, UpdateState
from littoral_cloud.rollouts.answers import GONE
from littoral_cloud.rollouts.assignments import BATCH_NODES, Assignment, Ineligible
from littoral_cloud.rollouts.eligibility import FITS_BUDGET, absence, chosen_for, interface_change, refusal
from littoral_cloud.rollouts.fleet_node import FleetNode
from littoral_cloud.rollouts.seen import RolloutView
from littoral_cloud.rollouts.waves import sizes_after, sizes_of
from littoral_cloud.rollouts.windows import opens_at

OFFLINE = "was offline when its turn came"


@dataclass(frozen=True, slots=True)
class RolloutPlan:
    assignments: tuple[Assignment, ...]  # the canary first
    refused: tuple[Ineligible, ...]
    already: tuple[str, ...]  # node ids that serve their candidate


@dataclass(frozen=True, slots=True)
class NextNodes:
    assignments: tuple[Assignment, ...]  # in order; chosen again where the budget has changed
    dropped: Mapping[str, str]  # node ids whose turn it was, and why they cannot have it
    closed: Mapping[str, float]  # node ids whose turn it is, and when their maintenance window opens
    away: tuple[str, ...]  # others whose turn it is, and that are waited for
    all: bool  # there are no others


def make_plan(seen: RolloutView, now: float) -> RolloutPlan:
    """The best candidate for each node, from what was measured; also for those that are away for a moment."""
    chosen_ones, refused, already = [], [], []
    for node in seen.nodes.values():
        if (no := refusal(node, seen) or absence(node, now)) is not None:
            refused.append(no)
            continue
        assert node.presence is not None
        try:
            chosen = chosen_for(node, seen)
        except NoFit as error:
            refused.append(Ineligible(node_id=node.id, rule=FITS_BUDGET, reason=error.message))
            continue
        wanted = node.wanted(seen.rollout.model)
        if node.serving(seen.rollout.model) == chosen.manifest_digest and (
            wanted is None or wanted.manifest_digest == chosen.manifest_digest
        ):
            already.append(node.id)
            continue
        chosen_ones.append((canary_rank(node, seen), node, chosen))
    chosen_ones.sort(key=lambda each: each[0])
    assignments = (_planned(order, node, chosen, seen) for order, (_, node, chosen) in enumerate(chosen_ones))
    return RolloutPlan(tuple(assignments), tuple(refused), tuple(already))


def _planned(order: int, node: FleetNode, chosen: Measured, seen: RolloutView) -> Assignment:
    assert node.presence is not None
    return Assignment(
        rollout_id=seen.rollout_id,
        node_id=node.id,
        manifest_digest=chosen.manifest_digest,
        name=chosen.name,
        previous=previous(node, seen),
        order=order,
        chosen_for=node.presence.budget_for(seen.rollout.model),
        interface=interface_change(node, seen.artifacts[chosen.manifest_digest], seen),
    )


def canary_rank(node: FleetNode, seen: RolloutView) -> tuple[bool, bool, bool, str]:
    """Lower goes earlier: the operator's choice; then nodes that can compare a new model with an old one on labelled examples of
    their own, for those see a ruined model soonest; then by id."""
    labelled = node.presence.examples_of(seen.rollout.model) if node.presence else 0
    return (node.id != seen.rollout.policy.canary, not node.serving(seen.rollout.model), labelled == 0, node.id)


def previous(node: FleetNode, seen: RolloutView) -> str:
    """The manifest to go back to: what the node keeps now; "": nothing."""
    report = node.report(seen.rollout.model)
    if report is None:
        return ""
    answers = report.state is UpdateState.PROBATION and report.serving == report.target  # in its shadow it does not yet
    return report.previous if answers else report.serving


def sizes_left(seen: RolloutView) -> tuple[int, ...]:
    """Sizes of the waves that are still to come, the waves that have started having passed: one of which every node was dropped
    has proved nothing, and does not count."""
    proved = (len(seen.assignments.of_wave(wave)) for wave, count in seen.assignments.standing.items() if count > 0)
    return sizes_after(sizes_of(seen.rollout.policy, seen.rollout.planned), sum(proved))


def next_nodes(assignments: Iterable[Assignment], seen: RolloutView, now: float, most: int) -> NextNodes:
    """The next nodes, at most `most`, that are there and that still can have it. Others are dropped when their turn comes: they
    got nothing, so nothing has to be undone. A node that is away for a moment, or whose maintenance window is closed, has a later
    turn, except the operator's canary.

    Args:
        assignments: in PLANNED, in the order of their turns.
    """
    chosen: list[Assignment] = []
    dropped: dict[str, str] = {}
    away: list[str] = []
    closed: dict[str, float] = {}
    for assignment in assignments:
        if len(chosen) == most or len(chosen) + len(dropped) == BATCH_NODES:
            return NextNodes(tuple(chosen), dropped, closed, tuple(away), all=False)
        node = seen.nodes.get(assignment.node_id)
        if node is None or node.node.enrolment is not Enrolment.ACCEPTED:
            dropped[assignment.node_id] = GONE
            continue
        if node.quarantine is not None:
            dropped[assignment.node_id] = in_quarantine(node.quarantine)
            continue
        if (there := node.there(now)) is There.OFFLINE:
            dropped[assignment.node_id] = OFFLINE
            continue
        if (opens := opens_at(node, now, seen.rollout.policy.window)) > now:
            closed[assignment.node_id] = opens
            if node.id == seen.rollout.policy.canary:
                break
            continue
        if there is There.AWAY:
            away.append(assignment.node_id)
            if node.id == seen.rollout.policy.canary:
                break
            continue
        try:
            chosen.append(_for_now(assignment, node, seen))
        except NoFit as error:
            dropped[assignment.node_id] = f"has another budget since: {error.message}"
    return NextNodes(tuple(chosen), dropped, closed, tuple(away), all=True)


def _for_now(assignment: Assignment, node: FleetNode, seen: RolloutView) -> Assignment:
    """As it is where the node may still spend what it was planned for; else chosen again. Raises NoFit."""
    model = seen.rollout.model
    if node.presence is None or assignment.chosen_for in (None, node.presence.budget_for(model)):
        return assignment
    chosen, budget = chosen_for(node, seen), node.presence.budget_for(model)
    change = interface_change(node, seen.artifacts[chosen.manifest_digest], seen)
    return replace(assignment, manifest_digest=chosen.manifest_digest, name=chosen.name, chosen_for=budget, interface=change)
