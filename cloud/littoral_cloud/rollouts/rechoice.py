"""What a node gets without a rollout of its own: when it may spend something else than what its model was chosen for, and when a
release was promoted without it. Pure; cloud/littoral_cloud/rollouts/rechoice_controller.py commits it.

A release that has passed its rollout was proved, so another of its candidates goes to the node at once, without a wave: the node
still checks, tries and watches it as in any update. While a rollout holds the node for this model, that rollout decides.
See docs/decisions/0013-a-changed-budget-needs-no-rollout.md and 0021-later-nodes-get-the-promoted-release.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from functools import cached_property

from littoral.budget import Measured
from littoral.errors import NoFit
from littoral_cloud.fleet.ledger import Audit, Change, Write
from littoral_cloud.fleet.measurements import MeasurementIndex
from littoral_cloud.fleet.records import Artifact, Desired, DesiredModel, Enrolment, Release, dump
from littoral_cloud.rollouts.artifact_choice import LEAST, candidates_for
from littoral_cloud.rollouts.assignments import Assignment, AssignmentState
from littoral_cloud.rollouts.eligibility import chosen_for, in_cohort, refusal
from littoral_cloud.rollouts.fleet_node import FleetNode
from littoral_cloud.rollouts.intents import next_generation
from littoral_cloud.rollouts.measuring import unmeasured
from littoral_cloud.rollouts.seen import RolloutView
from littoral_cloud.rollouts.state import ENDED, Rollout, RolloutState
from littoral_cloud.rollouts.windows import opens_at

ACTOR = "choice"


class PlaceInRollout(Enum):
    """What a rollout had to do with one node."""

    TOUCHED = auto()  # it got a candidate
    OUT_OF_BUDGET = auto()  # nothing fitted what it might spend
    WAITS = auto()  # its turn was to come
    NONE = auto()  # it was not there, or could not take the release then


_PLACES: Mapping[AssignmentState, PlaceInRollout] = {
    AssignmentState.PLANNED: PlaceInRollout.WAITS,
    AssignmentState.DROPPED: PlaceInRollout.NONE,
    AssignmentState.REFUSED: PlaceInRollout.OUT_OF_BUDGET,
}
"""In all other states something was asked of the node."""


@dataclass(frozen=True)
class Fleet:
    """What a choice for any node is made from. Rollouts by id, the ended ones too; releases by id; artifacts by digest.
    `assignment`: of a rollout and a node, by their ids; None where there is none."""

    rollouts: Mapping[str, Rollout]
    releases: Mapping[str, Release]
    artifacts: Mapping[str, Artifact]
    measurements: MeasurementIndex
    assignment: Callable[[str, str], Assignment | None]

    @cached_property
    def promoted(self) -> Mapping[str, Sequence[RolloutView]]:
        """What passed, by model, the newest first: each as its rollout would see it now."""
        found: dict[str, list[RolloutView]] = {}
        passed = [(id, rollout) for id, rollout in self.rollouts.items() if rollout.state is RolloutState.SUCCEEDED]
        for id, rollout in sorted(passed, key=lambda held: (held[1].began, held[0]), reverse=True):
            found.setdefault(rollout.model, []).append(self._seen(id, rollout))
        return found

    def withdrawn(self, seen: RolloutView) -> bool:
        release = self.releases.get(seen.rollout.release_id)
        return release is not None and bool(release.withdrawn)

    @cached_property
    def live(self) -> Mapping[str, Mapping[str, Rollout]]:
        """Rollouts that have not ended, by model and id."""
        found: dict[str, dict[str, Rollout]] = {}
        for id, rollout in self.rollouts.items():
            if rollout.state not in ENDED:
                found.setdefault(rollout.model, {})[id] = rollout
        return found

    def place(self, rollout_id: str, node: FleetNode) -> PlaceInRollout:
        a = self.assignment(rollout_id, node.id)
        if a is not None:
            return _PLACES.get(a.state, PlaceInRollout.TOUCHED)
        seen = self._measuring.get(rollout_id)  # it plans for whom it fits
        return PlaceInRollout.WAITS if seen is not None and refusal(node, seen) is None else PlaceInRollout.NONE

    @cached_property
    def _measuring(self) -> Mapping[str, RolloutView]:
        return {id: self._seen(id, rollout) for id, rollout in self.rollouts.items() if rollout.state is RolloutState.MEASURING}

    def _seen(self, id: str, rollout: Rollout) -> RolloutView:
        release = self.releases.get(rollout.release_id)
        digests = release.artifacts if release else ()
        return RolloutView(
            id,
            0,
            rollout,
            tuple(self.artifacts[digest] for digest in digests if digest in self.artifacts),
            self.artifacts,
            {},
            self.measurements,
            {},
        )


@dataclass(frozen=True, slots=True)
class Followed:
    """A release that passed, and from which a node may choose. `joins`: it went out without the node."""

    seen: RolloutView
    joins: bool

    @property
    def release_id(self) -> str:
        return self.seen.rollout.release_id


@dataclass(frozen=True, slots=True)
class Rechoice:
    """`change` None: nothing to write now. `again_at`: a candidate waits until then, for what the node will have measured, or for
    its maintenance window; None: none does."""

    change: Change | None = None
    again_at: float | None = None


@dataclass(frozen=True, slots=True)
class _Found:
    source: Followed
    chosen: Measured | NoFit


def rechoice(node: FleetNode, fleet: Fleet, now: float) -> Rechoice:
    """For each model that was chosen for another budget than the node has now, or was promoted without it: what shall be instead.

    A node that is away, or in quarantine, is left alone: it says what it may spend when it is back.

    Args:
        now: seconds since 1970-01-01 UTC.
    """
    if node.presence is None or not node.connected or node.node.enrolment is not Enrolment.ACCEPTED:
        return Rechoice()
    if node.quarantine is not None:
        return Rechoice()
    desired = node.desired
    lines: list[Audit] = []
    until: float | None = None
    for model in sorted({*node.desired.models, *fleet.promoted}):
        if holder(node, model, fleet) is not None:
            continue
        sources = _open_to(node, model, fleet)
        if sources and sources[0].joins:
            missing = _to_measure(node, sources[0], now)
            desired = replace(desired, benchmarks=_trials(desired, sources[0], missing))
            policy = sources[0].seen.rollout.policy
            if missing:
                until = _sooner(until, node.presence.since + policy.measure_s)
                sources = () if node.wanted(model) is None else sources[1:]
            elif (opens := opens_at(node, now, policy.window)) > now:
                until = _sooner(until, opens)
                sources = [source for source in sources if not source.joins]
        if (found := _chosen(node, model, sources)) is None:
            continue
        after, line = _intent(node, desired, model, found, fleet)
        if after is not None:
            desired = desired.with_model(model, after)
            lines += line
            if node.wanted(model) is None:
                break  # one more model on a node changes what each of them may take
    if desired == node.desired:
        return Rechoice(None, until)
    return Rechoice(Change((Write("desired", node.id, dump(desired), node.desired_generation),), tuple(lines)), until)


def _sooner(until: float | None, at: float) -> float:
    return at if until is None else min(until, at)


def holder(node: FleetNode, model: str, fleet: Fleet) -> str | None:
    """The rollout that has touched this node and may still take back what it asked for; its id. None: there is none."""
    return next((id for id in fleet.live.get(model, ()) if fleet.place(id, node) is PlaceInRollout.TOUCHED), None)


def followed(node: FleetNode, model: str, fleet: Fleet) -> list[Followed]:
    """What the node may choose from, the best first: rollouts that passed and were meant for it, newest first, until the one
    whose release holds what the node shall have now. Those before it gave it nothing because of its budget alone, or went out
    while it was not there or could not take them."""
    wanted = node.wanted(model)
    found = []
    for seen in fleet.promoted.get(model, ()):
        if seen.named and node.id not in seen.named:
            continue
        holds = wanted is not None and wanted.manifest_digest in seen.digests
        place = fleet.place(seen.rollout_id, node)
        if not holds and (fleet.withdrawn(seen) or in_cohort(node, seen) or not seen.rollout.proved):
            continue
        if holds or place is not PlaceInRollout.TOUCHED:
            found.append(Followed(seen, joins=not holds and place is not PlaceInRollout.OUT_OF_BUDGET))
        if holds:
            break
    return found


def _open_to(node: FleetNode, model: str, fleet: Fleet) -> Sequence[Followed]:
    """What is followed, without what the node cannot take; where a rollout has a turn for it, without what went out before."""
    awaited = any(fleet.place(id, node) is PlaceInRollout.WAITS for id in fleet.live.get(model, ()))
    return [
        source
        for source in followed(node, model, fleet)
        if not source.joins or (not awaited and refusal(node, source.seen) is None)
    ]


def _to_measure(node: FleetNode, source: Followed, now: float) -> tuple[str, ...]:
    """Candidates that the node has still to run before anything of the release is chosen; manifest digests. After the time that a
    rollout gives, it is chosen for by what it, or its like, has run until then."""
    assert node.presence is not None
    seen = source.seen
    late = now >= node.presence.since + seen.rollout.policy.measure_s
    missing = unmeasured(node, seen)
    if missing and late and candidates_for(node.id, node.presence, seen.candidates, seen.measurements):
        return ()
    return missing


def _trials(desired: Desired, source: Followed, missing: Sequence[str]) -> tuple[str, ...]:
    ours = source.seen.digests.difference(missing)
    return tuple(dict.fromkeys((*(trial for trial in desired.benchmarks if trial not in ours), *missing)))


def _chosen(node: FleetNode, model: str, sources: Sequence[Followed]) -> _Found | None:
    """The best inside the budget, or why there is none; None where nothing is to be chosen, or from nothing."""
    assert node.presence is not None
    wanted = node.wanted(model)
    stands = wanted is not None and wanted.chosen_for == node.presence.budget_for(model)
    last: _Found | None = None
    for source in sources:
        if stands and not source.joins:
            continue
        seen = source.seen
        try:  # of one that joins, what its own rollout would have demanded
            chosen = chosen_for(node, seen, None if source.joins else LEAST)
        except NoFit as error:
            last = last if source.joins else _Found(source, error)
        else:
            return _Found(source, chosen)
    return last


def _intent(
    node: FleetNode, desired: Desired, model: str, found: _Found, fleet: Fleet
) -> tuple[DesiredModel | None, tuple[Audit, ...]]:
    """The desired state of one model, and its audit lines. None where the node has nothing and gets nothing."""
    assert node.presence is not None
    source, chosen = found.source, found.chosen
    wanted, budget = desired.models.get(model), node.presence.budget_for(model)
    details: dict[str, object] = {"model": model, "budget": str(budget), "conditions": list(node.presence.in_force)}
    if isinstance(chosen, NoFit):
        if wanted is None:
            return None, ()
        why = chosen.message
        details |= {"keeps": _name(wanted.manifest_digest, fleet), "reason": why}
        return replace(wanted, chosen_for=budget, unfit=why), (Audit("choice.unchanged", node.id, ACTOR, details),)
    if wanted is not None and wanted.manifest_digest == chosen.manifest_digest:
        return replace(wanted, rollout_id=source.seen.rollout_id, chosen_for=budget, unfit=""), ()
    before = wanted.manifest_digest if wanted else ""
    probation = replace(source.seen.rollout.policy.probation, shadow_s=0.0, compare=0, evidence_s=0.0)  # no gate reads it
    if not source.joins:
        expected = _expected_drop(fleet.artifacts.get(before), fleet.artifacts[chosen.manifest_digest])
        probation = replace(probation, max_accuracy_drop=min(1.0, probation.max_accuracy_drop + expected))
    after = DesiredModel(
        manifest_digest=chosen.manifest_digest,
        rollout_id=source.seen.rollout_id,
        generation=next_generation(node, model),
        probation=probation,
        chosen_for=budget,
        defer_s=source.seen.rollout.policy.defer_s if source.joins else 0.0,
    )
    details |= {"release": source.release_id, "from": _name(before, fleet), "to": chosen.name}
    if source.joins:
        details["why"] = f"{source.release_id} was promoted without this node"
    return after, (Audit("choice.changed", node.id, ACTOR, details),)


def _expected_drop(before: Artifact | None, after: Artifact) -> float:
    """By how much the manifests say that the new one is less accurate: no reason for the node to go back."""
    if before is None or before.metric is not None or after.metric is not None or not after.is_judged:
        return 0.0
    return max(0.0, before.accuracy - after.accuracy)


def _name(digest: str, fleet: Fleet) -> str:
    artifact = fleet.artifacts.get(digest)
    return artifact.name if artifact else digest[:19]
