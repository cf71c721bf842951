"""What a rollout would do if it were started now: who gets what, in which wave, and who is left out. Nothing is written.

The plan is made by the functions that plan a real rollout. Two things can change until then: nodes come and go, and what is not
measured yet is measured first. A node whose class has still to measure is in its wave with every student that it could get.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from littoral_cloud.fleet.ledger import Ledger
from littoral_cloud.fleet.records import Release
from littoral_cloud.rollouts.artifact_choice import possible_for
from littoral_cloud.rollouts.assignments import KIND as ASSIGNMENT
from littoral_cloud.rollouts.assignments import Ineligible
from littoral_cloud.rollouts.eligibility import FITS_BUDGET, absence, accuracy_floor, offered, refusal, traits
from littoral_cloud.rollouts.fleet_node import FleetNode
from littoral_cloud.rollouts.measuring import still_to_measure, unmeasured
from littoral_cloud.rollouts.permission import begin_by
from littoral_cloud.rollouts.plan import RolloutPlan, canary_rank, make_plan
from littoral_cloud.rollouts.seen import KINDS, PREVIEW, RolloutView, snapshot_of
from littoral_cloud.rollouts.state import Rollout, RolloutPolicy, RolloutState
from littoral_cloud.rollouts.waves import sizes_of, split
from littoral_cloud.rollouts.windows import opens_at

TO_MEASURE = "to be measured"
"""In place of a student's name."""


@dataclass(frozen=True, slots=True)
class Share:
    """Nodes of one hardware class that get one student.

    Attributes:
        student: TO_MEASURE where the class has still to measure: it is one of `possible`.
        bytes_each: that travel to a node which has no file of it; of several that are possible, of the largest.
        least_bytes_each: of the smallest; 0: the node may have it already.
        possible: names; of a student that is known, none.
    """

    hardware_class: str
    student: str
    nodes: int
    bytes_each: int
    least_bytes_each: int
    possible: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PreviewedWave:
    """Node names in the order of their turns, and the bytes of their students: at most, and at least."""

    nodes: tuple[str, ...]
    bytes: int
    least_bytes: int


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Nodes that get nothing, for one reason."""

    rule: str
    reason: str
    nodes: tuple[str, ...]  # names, sorted


@dataclass(frozen=True, slots=True)
class RolloutPreview:
    """Attributes:
    unmeasured: nodes whose student is to be measured: names, sorted.
    to_measure: which nodes would measure first, in an operator's words.
    waits_for: rollouts of the model that would end first.
    closed: nodes whose maintenance window is closed now: names, sorted. `opens`: when the first of them opens; 0: none is closed.
    """

    waves: tuple[PreviewedWave, ...]
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
        return sum(wave.bytes for wave in self.waves)

    @property
    def least_bytes(self) -> int:
        return sum(wave.least_bytes for wave in self.waves)


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


@dataclass(frozen=True, slots=True)
class _PreviewedTurn:
    """One node, and what it may get."""

    node: FleetNode
    share: Share  # of this node alone


def preview(seen: RolloutView, now: float, travels: Mapping[str, int]) -> RolloutPreview:
    """Pure.

    Args:
        travels: by manifest digest, how many bytes travel to a node; of every candidate.
    """
    plan = make_plan(seen, now)
    unknown = _to_be_measured(plan, seen, travels)
    turns = sorted((*_planned(plan, seen, travels), *unknown.values()), key=lambda turn: canary_rank(turn.node, seen))
    policy = seen.rollout.policy
    opening = {turn.node.name: at for turn in turns if (at := opens_at(turn.node, now, policy.window)) > now}
    in_order = iter(turns)
    return RolloutPreview(
        tuple(
            _wave(tuple(islice(in_order, size))) for size in split(len(turns), sizes_of(policy, len(turns)), policy.most_nodes)
        ),
        _shares(turns),
        _grouped([no for no in plan.refused if no.node_id not in unknown], seen),
        len(plan.already),
        tuple(sorted(turn.node.name for turn in unknown.values())),
        still_to_measure(seen, now).waits_for,
        tuple(sorted(id for id, other in seen.others.items() if other.model == seen.rollout.model)),
        tuple(sorted(opening)),
        min(opening.values(), default=0.0),
    )


def _planned(plan: RolloutPlan, seen: RolloutView, travels: Mapping[str, int]) -> list[_PreviewedTurn]:
    """Nodes whose student is known."""
    found = []
    for a in plan.assignments:
        node, size = seen.nodes[a.node_id], travels[a.manifest_digest]
        assert node.presence is not None
        found.append(_PreviewedTurn(node, Share(node.presence.hardware_class, a.name, 1, size, size)))
    return found


def _to_be_measured(plan: RolloutPlan, seen: RolloutView, travels: Mapping[str, int]) -> dict[str, _PreviewedTurn]:
    """Nodes that nothing fits by what was measured, and that something may fit once the rollout has measured; by id."""
    alike: dict[Hashable, frozenset[str]] = {}
    found = {}
    for node in (seen.nodes[no.node_id] for no in plan.refused if no.rule == FITS_BUDGET):
        assert node.presence is not None
        key = traits(node, seen), node.presence.budget_for(seen.rollout.model)
        if key not in alike:
            alike[key] = _possible(node, seen)
        if digests := alike[key].intersection(unmeasured(node, seen)):
            sizes = [travels[digest] for digest in digests]
            least = 0 if node.serving(seen.rollout.model) in digests else min(sizes)
            names = tuple(sorted(seen.artifacts[digest].name for digest in digests))
            found[node.id] = _PreviewedTurn(node, Share(node.presence.hardware_class, TO_MEASURE, 1, max(sizes), least, names))
    return found


def _possible(node: FleetNode, seen: RolloutView) -> frozenset[str]:
    """Manifest digests of the candidates that may fit."""
    assert node.presence is not None
    among, model = offered(node, seen), seen.rollout.model
    return frozenset(a.manifest_digest for a in possible_for(node.presence, among, model=model, floor=accuracy_floor(node, seen)))


def _wave(turns: Sequence[_PreviewedTurn]) -> PreviewedWave:
    names = tuple(turn.node.name for turn in turns)
    return PreviewedWave(names, sum(t.share.bytes_each for t in turns), sum(t.share.least_bytes_each for t in turns))


def _shares(turns: Sequence[_PreviewedTurn]) -> tuple[Share, ...]:
    """The largest first."""
    found = Counter(turn.share for turn in turns)
    shares = (replace(share, nodes=nodes) for share, nodes in found.items())
    return tuple(sorted(shares, key=lambda share: (-share.nodes, share.hardware_class, share.student, share.possible)))


def _grouped(refused: Sequence[Ineligible], seen: RolloutView) -> tuple[LeftOut, ...]:
    """By reason, the most nodes first."""
    found: dict[tuple[str, str], list[str]] = {}
    for no in refused:
        found.setdefault((no.rule, no.reason), []).append(seen.nodes[no.node_id].name)
    groups = (LeftOut(rule, reason, tuple(sorted(names))) for (rule, reason), names in found.items())
    return tuple(sorted(groups, key=lambda group: (-len(group.nodes), group.rule, group.reason)))
