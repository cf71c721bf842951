"""Who gets a release: an ordered list of rules, each of which can say no in an operator's words. Pure.

Rules, in order:

1. OWN_RULES ask about one node. RULES_OF_ALIKE ask about what nodes share, so nodes that are alike (`traits`) have one answer.
2. A rule of RULES_OF_ALIKE, and the choice of a candidate, read nothing of a node but what `traits` and `chosen_for` name.
3. A node that measured a candidate itself has a choice of its own.

Example: 100,000 nodes of eight classes with two budgets: the rules are asked eight times, and a candidate is chosen 16 times.

A node may be in rollouts of several models at once: each model has its own desired state, update and way back there. Rollouts of
one model wait for each other (judge.py).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

from littoral.budget import Measured
from littoral.errors import BadInput, NoFit
from littoral_cloud.fleet.cohorts import matches
from littoral_cloud.fleet.interface import breaks
from littoral_cloud.fleet.limits import beyond, loadable, takes
from littoral_cloud.fleet.presence import There
from littoral_cloud.fleet.quarantine import in_quarantine
from littoral_cloud.fleet.records import Artifact, Enrolment
from littoral_cloud.rollouts.artifact_choice import LEAST, choose
from littoral_cloud.rollouts.assignments import Ineligible
from littoral_cloud.rollouts.fleet_node import FleetNode
from littoral_cloud.rollouts.seen import RolloutView
from littoral_cloud.rollouts.windows import opens_at

Rule = Callable[[FleetNode, RolloutView], str | None]


def named(node: FleetNode, seen: RolloutView) -> str | None:
    """The operator named the nodes, and this is one of them; or named none."""
    return None if not seen.named or node.id in seen.named else "is not among the nodes that this rollout was started for"


def in_cohort(node: FleetNode, seen: RolloutView) -> str | None:
    where = seen.rollout.policy.where
    return None if matches(where, node.node, node.presence) else f"is not in the cohort {where}"


def accepted(node: FleetNode, seen: RolloutView) -> str | None:
    return None if node.node.enrolment is Enrolment.ACCEPTED else f"is {node.node.enrolment.value}"


def not_quarantined(node: FleetNode, seen: RolloutView) -> str | None:
    return None if node.quarantine is None else in_quarantine(node.quarantine)


def window_is_known(node: FleetNode, seen: RolloutView) -> str | None:
    try:
        opens_at(node, 0.0)
    except BadInput as error:
        return f"says when it takes updates, but: {error.message}"
    return None


def has_runtime(node: FleetNode, seen: RolloutView) -> str | None:
    if node.presence is None:
        return None
    has = node.presence.runtimes
    wanted = sorted({candidate.runtime for candidate in seen.candidates})
    return (
        None
        if set(has) & set(wanted)
        else f"has {'/'.join(has) or 'no runtime'}, the release needs {'/'.join(wanted) or 'nothing'}"
    )


def can_take(node: FleetNode, seen: RolloutView) -> str | None:
    """Some candidate for its runtimes is not above what they take: ONNX versions, instruction sets."""
    if node.presence is None:
        return None
    offered = [candidate for candidate in seen.candidates if candidate.runtime in node.presence.runtimes]
    above = {candidate.name: beyond(candidate, node.presence) for candidate in offered}
    if not all(above.values()):
        return None
    return "; ".join(f"cannot take {name}: {limit}" for name, limits in above.items() for limit in limits) or None


def reads_what_travels(node: FleetNode, seen: RolloutView) -> str | None:
    """It has the dictionaries that the candidates for its runtimes are coded with (littoral.codec)."""
    if node.presence is None:
        return None
    offered = [candidate for candidate in seen.candidates if takes(candidate, node.presence)]
    lacking = sorted({need for candidate in offered for need in candidate.needs} - set(node.presence.features))
    return f"lacks {', '.join(lacking)}, with which the release is coded: upgrade the agent" if lacking else None


def keeps_interface(node: FleetNode, seen: RolloutView) -> str | None:
    """Some candidate is understood by clients of what the node serves; or the policy allows that none is."""
    if node.presence is None or offered(node, seen):
        return None
    said = {clause: None for c in seen.candidates if takes(c, node.presence) for clause in interface_change(node, c, seen)}
    clauses = "; ".join(said)
    return f"its clients would be refused: {clauses} (--allow-interface-change gives it all the same)" if clauses else None


def offered(node: FleetNode, seen: RolloutView) -> Sequence[Artifact]:
    """The candidates that the node may get without a change for its clients; all of them where the policy allows a change."""
    return [candidate for candidate in seen.candidates if offers(candidate, node, seen)]


def offers(candidate: Artifact, node: FleetNode, seen: RolloutView) -> bool:
    """Whether the candidate is one of `offered`."""
    return seen.rollout.policy.allow_interface_change or not interface_change(node, candidate, seen)


def interface_change(node: FleetNode, candidate: Artifact, seen: RolloutView) -> tuple[str, ...]:
    """What changes for clients of what the node serves; empty: nothing, or it serves nothing that is known."""
    pair = node.serving(seen.rollout.model), candidate.manifest_digest
    if (found := seen.known.changes.get(pair)) is None:
        serving = seen.artifacts.get(pair[0])
        found = seen.known.changes[pair] = breaks(serving.interface, candidate.interface) if serving else ()
    return found


def traits(node: FleetNode, seen: RolloutView) -> Hashable:
    """What nodes that are alike have in common: all that RULES_OF_ALIKE read of a node."""
    presence = node.presence
    return node.serving(seen.rollout.model), presence and (loadable(presence), presence.features)


def chosen_for(node: FleetNode, seen: RolloutView, floor: float | None = None) -> Measured:
    """The best candidate for this node. Raises NoFit, in an operator's words.

    Args:
        floor: the least score; None: `accuracy_floor`.
    """
    assert node.presence is not None
    if any(seen.measurements.of_node(candidate.manifest_digest, node.id) for candidate in seen.candidates):
        return _choose(node, seen, floor)
    known = seen.known
    if known.measured != seen.measurements.version:
        known.choices.clear()
        known.measured = seen.measurements.version
    budget = node.presence.budget_for(seen.rollout.model)
    alike = traits(node, seen), node.presence.hardware_class, budget, floor
    if (found := known.choices.get(alike)) is None:
        try:
            found = _choose(node, seen, floor)
        except NoFit as error:
            found = error
        known.choices[alike] = found
    if isinstance(found, NoFit):
        raise NoFit(found.message, hint=found.hint)
    return found


def _choose(node: FleetNode, seen: RolloutView, floor: float | None) -> Measured:
    assert node.presence is not None
    least = accuracy_floor(node, seen) if floor is None else floor
    among, model = offered(node, seen), seen.rollout.model
    words = _floor_is(node, seen) if floor is None else ""
    return choose(node.id, node.presence, among, seen.measurements, model=model, floor=least, floor_is=words)


def _floor_is(node: FleetNode, seen: RolloutView) -> str:
    """Where `accuracy_floor` comes from; "": there is none."""
    serving, loss = seen.artifacts.get(node.serving(seen.rollout.model)), seen.rollout.policy.max_accuracy_loss
    if serving is None or accuracy_floor(node, seen) == LEAST:
        return ""
    served = f"{serving.metric.value:.6g} less {loss:.6g} of it" if serving.metric else f"{serving.accuracy:.4f} less {loss:.6g}"
    return f"the served model's {served} (--max-drop-vs-served)"


def accuracy_floor(node: FleetNode, seen: RolloutView) -> float:
    """What a candidate's score must be at least on this node: so much under the served model's accuracy, or, of another metric,
    that share of its value. LEAST where it serves nothing that is known, what was never measured, or what is judged by another
    metric."""
    serving = seen.artifacts.get(node.serving(seen.rollout.model))
    judged = [candidate for candidate in seen.candidates if candidate.is_judged]
    if serving is None or not serving.is_judged or any(_judged_by(candidate) != _judged_by(serving) for candidate in judged):
        return LEAST
    loss = seen.rollout.policy.max_accuracy_loss
    if loss >= 1:
        return LEAST
    return serving.score - loss * abs(serving.score) if serving.metric else max(0.0, serving.accuracy - loss)


def _judged_by(artifact: Artifact) -> str:
    return artifact.metric.name if artifact.metric else "accuracy"


OWN_RULES: tuple[Rule, ...] = (named, in_cohort, accepted, not_quarantined, window_is_known)
RULES_OF_ALIKE: tuple[Rule, ...] = (has_runtime, can_take, keeps_interface, reads_what_travels)
"""Both before anything is measured: by the node's last report, connected or not."""

FITS_BUDGET = "fits-budget"
"""The rule of `chosen_for`: some candidate was measured, is inside the budget, and is not much worse than what is served."""

ABSENT = "connected"
"""The rule of `absence`: what it refuses may be otherwise as soon as the node is back."""


def absence(node: FleetNode, now: float) -> Ineligible | None:
    """That the node is offline, or has never been there; None: it is there, or away for a moment."""
    return Ineligible(node_id=node.id, rule=ABSENT, reason=absent(node, now)) if node.there(now) is There.OFFLINE else None


def absent(node: FleetNode, now: float) -> str:
    """How it is not there, in words."""
    return "has not come yet" if node.presence is None else f"is {node.there(now)}"


def refusal(node: FleetNode, seen: RolloutView) -> Ineligible | None:
    """The first no of OWN_RULES and RULES_OF_ALIKE; None: the node may have it."""
    if (no := _first_no(node, seen, OWN_RULES)) is None:
        known, alike = seen.known.refusals, traits(node, seen)
        if alike not in known:
            known[alike] = _first_no(node, seen, RULES_OF_ALIKE)
        no = known[alike]
    return Ineligible(node_id=node.id, rule=no[0], reason=no[1]) if no is not None else None


def _first_no(node: FleetNode, seen: RolloutView, rules: Sequence[Rule]) -> tuple[str, str] | None:
    """The rule's name, and its reason."""
    for rule in rules:
        if (reason := rule(node, seen)) is not None:
            return rule.__name__.replace("_", "-"), reason
    return None


def share_that_could_take(seen: RolloutView) -> float:
    """The part of the fleet that the rollout could reach, by what is known before a measurement; connected or not."""
    fleet = [node for node in seen.nodes.values() if node.node.enrolment is Enrolment.ACCEPTED]
    return sum(refusal(node, seen) is None for node in fleet) / len(fleet) if fleet else 1.0
