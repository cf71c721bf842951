"""What a node gets when it may spend something else than what its model was chosen for. Pure; cloud/rollouts/rechooser.py
commits it.

A release that has passed its rollout was proved, so another of its candidates goes to the node at once, without a wave: the node
still checks, tries and watches it as in any update. While a rollout holds the node for this model, that rollout decides.
See docs/decisions/0013-chosen-again-without-a-rollout.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cloud.fleet.choice import choose
from cloud.fleet.ledger import Audit, Change, Write
from cloud.fleet.records import Artifact, Desired, DesiredModel, Enrolment, MeasurementRecord, Release, dump
from cloud.rollouts.decide import next_generation
from cloud.rollouts.seen import NodeView
from cloud.rollouts.state import ENDED, Rollout, State
from littoral.budget import Measured
from littoral.errors import NoFit

ACTOR = "choice"


@dataclass(frozen=True, slots=True)
class Fleet:
    """What a choice for any node is made from. Rollouts by id, the ended ones too; releases by id; artifacts by digest."""

    rollouts: Mapping[str, Rollout]
    releases: Mapping[str, Release]
    artifacts: Mapping[str, Artifact]
    measurements: Sequence[MeasurementRecord]

    def candidates(self, rollout: Rollout) -> list[Artifact]:
        """Of the rollout's release; none where the release is not there."""
        release = self.releases.get(rollout.release_id)
        return [self.artifacts[digest] for digest in (release.artifacts if release else ()) if digest in self.artifacts]


@dataclass(frozen=True, slots=True)
class Followed:
    """A rollout that passed, and what a node may choose from its release."""

    rollout_id: str
    rollout: Rollout
    candidates: Sequence[Artifact]


def rechoice(node: NodeView, fleet: Fleet) -> Change | None:
    """For each model that was chosen for another budget than the node has now: what shall be instead. None: nothing to do.

    A node that is away is left alone: it says what it may spend when it is back.
    """
    if node.presence is None or not node.connected or node.node.enrolment is not Enrolment.ACCEPTED:
        return None
    desired = node.desired
    lines: list[Audit] = []
    for model in sorted(_models(node, fleet)):
        wanted, budget = node.wanted(model), node.presence.budget_for(model)
        if wanted is not None and wanted.chosen_for == budget:
            continue
        if holder(node, model, fleet.rollouts) is not None:
            continue
        found = _chosen(node, model, fleet)
        if found is None:
            continue
        after, line = _intent(node, desired, model, found, fleet)
        if after is not None:
            desired = desired.with_model(model, after)
            lines += line
    if desired == node.desired:
        return None
    return Change((Write("desired", node.id, dump(desired), node.desired_generation),), tuple(lines))


def holder(node: NodeView, model: str, rollouts: Mapping[str, Rollout]) -> str | None:
    """The rollout that has touched this node and may still take back what it asked for; its id. None: there is none."""
    return next(
        (
            id
            for id, rollout in rollouts.items()
            if rollout.model == model
            and rollout.state not in ENDED
            and any(a.node_id == node.id and a.touched and not a.dropped for a in rollout.assignments)
        ),
        None,
    )


def followed(node: NodeView, model: str, fleet: Fleet) -> list[Followed]:
    """What the node may choose from, the best first: rollouts that passed, newest first, until the one whose release holds what
    the node shall have now. Those before it are rollouts that gave it nothing because of its budget alone."""
    wanted = node.wanted(model)
    passed = [(id, r) for id, r in fleet.rollouts.items() if r.model == model and r.state is State.SUCCEEDED]
    found = []
    for id, rollout in sorted(passed, key=lambda held: (held[1].ended_at or 0.0, held[0]), reverse=True):
        if rollout.policy.nodes and node.id not in rollout.policy.nodes:
            continue
        candidates = fleet.candidates(rollout)
        holds = wanted is not None and any(a.manifest_digest == wanted.manifest_digest for a in candidates)
        if holds or any(no.node_id == node.id and no.rule == "fits-budget" for no in rollout.refused):
            found.append(Followed(id, rollout, candidates))
        if holds:
            break
    return found


def _models(node: NodeView, fleet: Fleet) -> set[str]:
    refused = {r.model for r in fleet.rollouts.values() if any(no.node_id == node.id for no in r.refused)}
    return {*node.desired.models, *refused}


def _chosen(node: NodeView, model: str, fleet: Fleet) -> tuple[Followed, Measured | NoFit] | None:
    """The best inside the budget, or why there is none; None where no release of this model has passed for the node."""
    assert node.presence is not None
    last: tuple[Followed, Measured | NoFit] | None = None
    for each in followed(node, model, fleet):
        try:
            return each, choose(node.id, node.presence, each.candidates, fleet.measurements, model=model)
        except NoFit as error:
            last = (each, error)
    return last


def _intent(
    node: NodeView, desired: Desired, model: str, found: tuple[Followed, Measured | NoFit], fleet: Fleet
) -> tuple[DesiredModel | None, tuple[Audit, ...]]:
    """What shall be of one model, and what is said of it. None where the node has nothing and gets nothing."""
    assert node.presence is not None
    source, chosen = found
    wanted, budget = desired.models.get(model), node.presence.budget_for(model)
    details = {"model": model, "budget": str(budget), "conditions": list(node.presence.in_force)}
    if isinstance(chosen, NoFit):
        if wanted is None:
            return None, ()
        why = chosen.message
        details |= {"keeps": _name(wanted.manifest_digest, fleet), "reason": why}
        return replace(wanted, chosen_for=budget, unfit=why), (Audit("choice.kept", node.id, ACTOR, details),)
    if wanted is not None and wanted.manifest_digest == chosen.manifest_digest:
        return replace(wanted, rollout_id=source.rollout_id, chosen_for=budget, unfit=""), ()
    before = wanted.manifest_digest if wanted else ""
    after = DesiredModel(
        manifest_digest=chosen.manifest_digest,
        rollout_id=source.rollout_id,
        generation=next_generation(node, model),
        probation=source.rollout.policy.probation,
        chosen_for=budget,
    )
    expected = _expected_drop(fleet.artifacts.get(before), fleet.artifacts[chosen.manifest_digest])
    after = replace(
        after,
        probation=replace(after.probation, max_accuracy_drop=min(1.0, after.probation.max_accuracy_drop + expected)),
    )
    details |= {"release": source.rollout.release_id, "from": _name(before, fleet), "to": chosen.name}
    return after, (Audit("choice.changed", node.id, ACTOR, details),)


def _expected_drop(before: Artifact | None, after: Artifact) -> float:
    """By how much the manifests say that the new one is less accurate: no reason for the node to go back."""
    if before is None or before.metric is not None or after.metric is not None:
        return 0.0
    return max(0.0, before.accuracy - after.accuracy)


def _name(digest: str, fleet: Fleet) -> str:
    artifact = fleet.artifacts.get(digest)
    return artifact.name if artifact else digest[:19]
