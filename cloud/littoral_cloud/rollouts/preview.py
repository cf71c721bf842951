"""What a rollout would do if it were started now: who gets what, in which wave, and who is left out. Nothing is written.

The plan is made by the functions that plan a real rollout. Two things can change until then: what is not measured yet is measured
first, and nodes come and go.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from littoral_cloud.fleet.ledger import Ledger
from littoral_cloud.fleet.records import Release
from littoral_cloud.rollouts.assignments import KIND as ASSIGNMENT
from littoral_cloud.rollouts.assignments import Assignment, Ineligible
from littoral_cloud.rollouts.eligibility import FITS_BUDGET, absence, refusal
from littoral_cloud.rollouts.fleet_node import FleetNode
from littoral_cloud.rollouts.measuring import still_to_measure, unmeasured
from littoral_cloud.rollouts.permission import begin_by
from littoral_cloud.rollouts.plan import make_plan
from littoral_cloud.rollouts.seen import KINDS, RolloutView, snapshot_of
from littoral_cloud.rollouts.state import Rollout, RolloutPolicy, RolloutState
from littoral_cloud.rollouts.waves import sizes_of, split
from littoral_cloud.rollouts.windows import opens_at

PREVIEW = "(preview)"
"""The id of a rollout that is not written. No other has brackets in its id."""


@dataclass(frozen=True, slots=True)
class Share:
    """Nodes of one hardware class that get one student. `bytes_each`: that travel to a node which has no file of it."""

    hardware_class: str
    student: str
    nodes: int
    bytes_each: int


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Nodes that get nothing, for one reason."""

    rule: str
    reason: str
    nodes: tuple[str, ...]  # names, sorted


@dataclass(frozen=True, slots=True)
class RolloutPreview:
    """Attributes:
    waves: node names and bytes of each.
    unmeasured: nodes of which none of the candidates is measured yet, neither there nor on their class: names, sorted.
    to_measure: which nodes would measure first, in an operator's words.
    waits_for: rollouts of the model that would end first.
    closed: nodes whose maintenance window is closed now: names, sorted. `opens`: when the first of them opens; 0: none is closed.
    """

    waves: tuple[tuple[tuple[str, ...], int], ...]
    shares: tuple[Share, ...]
    left_out: tuple[LeftOut, ...]
    already: int
    unmeasured: tuple[str, ...]
    to_measure: tuple[str, ...]
    waits_for: tuple[str, ...]
    closed: tuple[str, ...] = ()
    opens: float = 0.0

    @property
    def bytes(self) -> int:
        return sum(size for _, size in self.waves)


def new_rollout(release: Release, policy: RolloutPolicy, now: float, started_by: str = "") -> Rollout:
    return Rollout(
        release_id=release.release_id,
        model=release.model,
        kind=release.kind,
        policy=policy,
        state=RolloutState.PENDING,
        created_at=now,
        entered_at=now,
        deadline=begin_by(policy, now),
        started_by=started_by,
    )


async def read_before(ledger: Ledger, release: Release, policy: RolloutPolicy, now: float) -> RolloutView:
    """What a rollout of this release would see now."""
    snapshot = snapshot_of([doc for kind in KINDS if kind != ASSIGNMENT for doc in await ledger.all(kind)])
    mine = {PREVIEW: (0, new_rollout(release, policy, now))}
    return replace(snapshot, rollouts={**snapshot.rollouts, **mine}).of(PREVIEW)


def could_take(seen: RolloutView, now: float) -> tuple[list[FleetNode], list[Ineligible]]:
    """The nodes that are there and may have the release, as far as it is known without a measurement; and the others."""
    nodes, out = [], []
    for node_id in sorted(seen.nodes):
        node = seen.nodes[node_id]
        if (no := refusal(node, seen) or absence(node, now)) is None:
            nodes.append(node)
        else:
            out.append(no)
    return nodes, out


def preview(seen: RolloutView, now: float, travels: Mapping[str, int]) -> RolloutPreview:
    """Pure.

    Args:
        travels: by manifest digest, how many bytes travel to a node; of every candidate.
    """
    plan = make_plan(seen, now)
    unknown = {
        no.node_id for no in plan.refused if no.rule == FITS_BUDGET and _nothing_ran(seen.nodes[no.node_id], seen)
    }  # they are planned once their class has measured
    policy, planned = seen.rollout.policy, iter(plan.assignments)
    opening = {a.node_id: at for a in plan.assignments if (at := opens_at(seen.nodes[a.node_id], now, policy.window)) > now}
    sizes = split(len(plan.assignments), sizes_of(policy, len(plan.assignments)), policy.most_nodes)
    return RolloutPreview(
        tuple(_wave(tuple(islice(planned, size)), seen, travels) for size in sizes),
        _shares(plan.assignments, seen, travels),
        _grouped([no for no in plan.refused if no.node_id not in unknown], seen),
        len(plan.already),
        tuple(sorted(seen.nodes[node_id].name for node_id in unknown)),
        still_to_measure(seen, now).waits_for,
        tuple(sorted(id for id, other in seen.others.items() if other.model == seen.rollout.model)),
        tuple(sorted(seen.nodes[id].name for id in opening)),
        min(opening.values(), default=0.0),
    )


def _nothing_ran(node: FleetNode, seen: RolloutView) -> bool:
    """Whether nothing is known yet of any candidate that the node could get."""
    assert node.presence is not None
    known = (seen.measurements.of_node(c.manifest_digest, node.id) for c in seen.candidates)
    return bool(unmeasured(node, seen)) and not any(known)


def _wave(nodes: Sequence[Assignment], seen: RolloutView, travels: Mapping[str, int]) -> tuple[tuple[str, ...], int]:
    """Names, and bytes."""
    return tuple(seen.nodes[a.node_id].name for a in nodes), sum(travels[a.manifest_digest] for a in nodes)


def _shares(assignments: Sequence[Assignment], seen: RolloutView, travels: Mapping[str, int]) -> tuple[Share, ...]:
    """The largest first."""
    found: Counter[tuple[str, str, int]] = Counter()
    for a in assignments:
        presence = seen.nodes[a.node_id].presence
        assert presence is not None
        found[presence.hardware_class, a.name, travels[a.manifest_digest]] += 1
    shares = (Share(kind, name, nodes, size) for (kind, name, size), nodes in found.items())
    return tuple(sorted(shares, key=lambda share: (-share.nodes, share.hardware_class, share.student)))


def _grouped(refused: Sequence[Ineligible], seen: RolloutView) -> tuple[LeftOut, ...]:
    """By reason, the most nodes first."""
    found: dict[tuple[str, str], list[str]] = {}
    for no in refused:
        found.setdefault((no.rule, no.reason), []).append(seen.nodes[no.node_id].name)
    groups = (LeftOut(rule, reason, tuple(sorted(names))) for (rule, reason), names in found.items())
    return tuple(sorted(groups, key=lambda group: (-len(group.nodes), group.rule, group.reason)))
