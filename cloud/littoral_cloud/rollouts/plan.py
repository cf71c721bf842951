"""Who gets which candidate, and in which wave. Pure and deterministic: the same fleet gives the same plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from littoral.errors import NoFit
from littoral_cloud.fleet.presence import There
from littoral_cloud.fleet.quarantine import in_quarantine
from littoral_cloud.fleet.records import Enrolment, UpdateState
from littoral_cloud.rollouts.eligibility import FITS_BUDGET, absence, chosen_for, interface_change, refusal
from littoral_cloud.rollouts.seen import FleetNode, RolloutView
from littoral_cloud.rollouts.state import Assignment, Ineligible
from littoral_cloud.rollouts.waves import sizes_after, sizes_of
from littoral_cloud.rollouts.windows import opens_at


@dataclass(frozen=True, slots=True)
class RolloutPlan:
    assignments: tuple[Assignment, ...]  # the canary first
    refused: tuple[Ineligible, ...]
    already: tuple[str, ...]  # node ids that serve their candidate


@dataclass(frozen=True, slots=True)
class NextWave:
    assignments: Mapping[str, Assignment]  # by node id, in order; chosen again where the budget has changed
    dropped: Mapping[str, str]  # node ids whose turn it was, and why they cannot have it
    away: tuple[str, ...]  # node ids whose turn it is, and that are waited for
    offline: frozenset[str]  # of those that are dropped, the ones that may take it when they are back
    closed: Mapping[str, float]  # node ids whose turn it is, and when their maintenance window opens

    @property
    def nodes(self) -> tuple[str, ...]:
        return tuple(self.assignments)


def make_plan(seen: RolloutView, now: float) -> RolloutPlan:
    """The best candidate for each node of the cohort, from what was measured; also for those that are away for a moment."""
    assignments, refused, already = [], [], []
    for node_id in seen.rollout.cohort:
        if (node := seen.nodes.get(node_id)) is None:
            refused.append(Ineligible(node_id=node_id, rule="accepted", reason="is not enrolled any more"))
            continue
        if (no := refusal(node, seen) or absence(node, now)) is not None:
            refused.append(no)
            continue
        assert node.presence is not None
        try:
            chosen = chosen_for(node, seen)
        except NoFit as error:
            refused.append(Ineligible(node_id=node_id, rule=FITS_BUDGET, reason=error.message))
            continue
        wanted = node.wanted(seen.rollout.model)
        if node.serving(seen.rollout.model) == chosen.manifest_digest and (
            wanted is None or wanted.manifest_digest == chosen.manifest_digest
        ):
            already.append(node.id)
            continue
        assignments.append(
            Assignment(
                node_id=node.id,
                manifest_digest=chosen.manifest_digest,
                name=chosen.name,
                previous=previous(node, seen),
                chosen_for=node.presence.budget_for(seen.rollout.model),
                interface=interface_change(node, seen.artifacts[chosen.manifest_digest], seen),
            )
        )
    order = sorted(assignments, key=lambda a: canary_rank(seen.nodes[a.node_id], seen))
    return RolloutPlan(tuple(order), tuple(refused), tuple(already))


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
    return report.previous if report.state is UpdateState.PROBATION else report.serving


def passed_probation(assignment: Assignment, seen: RolloutView) -> bool:
    """The node reports that it serves its candidate, after probation."""
    node = seen.nodes.get(assignment.node_id)
    report = node.report(seen.rollout.model) if node else None
    return (
        assignment.touched
        and report is not None
        and report.desired_generation == assignment.generation
        and report.state is UpdateState.SUCCEEDED
        and report.serving == assignment.manifest_digest
    )


def unproved(node: FleetNode, model: str) -> bool:
    """Whether the node keeps what no request and no labelled example has tried there."""
    report = node.report(model)
    probation = report.probation if report else None
    return probation is not None and probation.requests == 0 and probation.examples == 0


def sizes_left(seen: RolloutView, assignments: Sequence[Assignment]) -> tuple[int, ...]:
    """Sizes of the waves that are still to come, the waves that have started having passed: one of which every node was dropped
    has proved nothing, and does not count."""
    stands = {a.node_id for a in assignments if a.touched and not a.dropped}
    proved = (w for w in seen.rollout.waves if w.started_at is not None and not stands.isdisjoint(w.nodes))
    return sizes_after(sizes_of(seen.rollout.policy, len(assignments)), sum(len(wave.nodes) for wave in proved))


def next_wave(seen: RolloutView, assignments: Sequence[Assignment], now: float) -> NextWave:
    """The next nodes, in order, that are there and that still can have it. Others are dropped when their turn comes: they
    got nothing, so nothing has to be undone. A node that is away for a moment, or whose maintenance window is closed, has a later
    turn, except the operator's canary."""
    sizes = sizes_left(seen, assignments)
    waiting = [a for a in assignments if not a.touched and not a.dropped]
    size = sizes[0] if sizes else seen.rollout.policy.most_nodes
    chosen: dict[str, Assignment] = {}
    dropped: dict[str, str] = {}
    away: list[str] = []
    offline: set[str] = set()
    closed: dict[str, float] = {}
    for assignment in waiting:
        if len(chosen) == size:
            break
        node = seen.nodes.get(assignment.node_id)
        if node is None or node.node.enrolment is not Enrolment.ACCEPTED:
            dropped[assignment.node_id] = "is not part of the fleet any more"
            continue
        if node.quarantine is not None:
            dropped[assignment.node_id] = in_quarantine(node.quarantine)
            continue
        if (there := node.there(now)) is There.OFFLINE:
            dropped[assignment.node_id] = "was offline when its turn came"
            offline.add(assignment.node_id)
            continue
        if there is There.AWAY:
            away.append(assignment.node_id)
            if node.id == seen.rollout.policy.canary:
                break
            continue
        if (opens := opens_at(node, now, seen.rollout.policy.window)) > now:
            closed[assignment.node_id] = opens
            if node.id == seen.rollout.policy.canary:
                break
            continue
        try:
            chosen[assignment.node_id] = _for_now(assignment, node, seen)
        except NoFit as error:
            dropped[assignment.node_id] = f"has another budget since: {error.message}"
    return NextWave(chosen, dropped, tuple(away), frozenset(offline), closed)


def _for_now(assignment: Assignment, node: FleetNode, seen: RolloutView) -> Assignment:
    """As it is where the node may still spend what it was planned for; else chosen again. Raises NoFit."""
    model = seen.rollout.model
    if node.presence is None or assignment.chosen_for in (None, node.presence.budget_for(model)):
        return assignment
    chosen, budget = chosen_for(node, seen), node.presence.budget_for(model)
    change = interface_change(node, seen.artifacts[chosen.manifest_digest], seen)
    return replace(assignment, manifest_digest=chosen.manifest_digest, name=chosen.name, chosen_for=budget, interface=change)
