"""Who gets a release: an ordered list of rules, each of which can say no in an operator's words. Pure.

A node may be in rollouts of several models at once: each model has its own desired state, update and way back there. Rollouts of
one model wait for each other (observe.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from littoral.budget import Measured
from littoral.errors import NoFit
from littoral_cloud.fleet.interface import breaks
from littoral_cloud.fleet.limits import beyond, takes
from littoral_cloud.fleet.presence import There
from littoral_cloud.fleet.records import Artifact, Enrolment
from littoral_cloud.rollouts.artifact_choice import LEAST, choose
from littoral_cloud.rollouts.seen import FleetNode, RolloutView
from littoral_cloud.rollouts.state import Ineligible

Rule = Callable[[FleetNode, RolloutView], str | None]


def named(node: FleetNode, seen: RolloutView) -> str | None:
    """The operator named the nodes, and this is one of them; or named none."""
    wanted = seen.rollout.policy.nodes
    return None if not wanted or node.id in wanted else "is not among the nodes that this rollout was started for"


def accepted(node: FleetNode, seen: RolloutView) -> str | None:
    return None if node.node.enrolment is Enrolment.ACCEPTED else f"is {node.node.enrolment.value}"


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


def fits_budget(node: FleetNode, seen: RolloutView) -> str | None:
    """Some candidate was measured, is inside the budget, and is not much worse than what the node serves."""
    assert node.presence is not None
    try:
        chosen_for(node, seen)
    except NoFit as error:
        return error.message
    return None


def keeps_interface(node: FleetNode, seen: RolloutView) -> str | None:
    """Some candidate is understood by clients of what the node serves; or the policy allows that none is."""
    if node.presence is None or offered(node, seen):
        return None
    said = {clause: None for c in seen.candidates if takes(c, node.presence) for clause in interface_change(node, c, seen)}
    clauses = "; ".join(said)
    return f"its clients would be refused: {clauses} (--allow-interface-change gives it all the same)" if clauses else None


def offered(node: FleetNode, seen: RolloutView) -> Sequence[Artifact]:
    """The candidates that the node may get without a change for its clients; all of them where the policy allows a change."""
    if seen.rollout.policy.allow_interface_change:
        return seen.candidates
    return [candidate for candidate in seen.candidates if not interface_change(node, candidate, seen)]


def interface_change(node: FleetNode, candidate: Artifact, seen: RolloutView) -> tuple[str, ...]:
    """What changes for clients of what the node serves; empty: nothing, or it serves nothing that is known."""
    serving = seen.artifacts.get(node.serving(seen.rollout.model))
    return breaks(serving.interface, candidate.interface) if serving else ()


def chosen_for(node: FleetNode, seen: RolloutView) -> Measured:
    """The best candidate for this node. Raises NoFit, in an operator's words."""
    assert node.presence is not None
    return choose(
        node.id, node.presence, offered(node, seen), seen.measurements, model=seen.rollout.model, floor=accuracy_floor(node, seen)
    )


def accuracy_floor(node: FleetNode, seen: RolloutView) -> float:
    """What a candidate's score must be at least on this node: so much under the served model's accuracy, or, of another metric,
    that share of its value. LEAST where it serves nothing that is known, or something that is judged by another metric."""
    serving = seen.artifacts.get(node.serving(seen.rollout.model))
    if serving is None or any(_judged_by(candidate) != _judged_by(serving) for candidate in seen.candidates):
        return LEAST
    loss = seen.rollout.policy.max_accuracy_loss
    if loss >= 1:
        return LEAST
    return serving.score - loss * abs(serving.score) if serving.metric else max(0.0, serving.accuracy - loss)


def _judged_by(artifact: Artifact) -> str:
    return artifact.metric.name if artifact.metric else "accuracy"


RULES: tuple[Rule, ...] = (named, accepted, has_runtime, can_take, keeps_interface, reads_what_travels)
"""Before anything is measured: by the node's last report, connected or not."""

ABSENT = "connected"
"""The rule of `absence`: what it refuses may be otherwise as soon as the node is back."""


def absence(node: FleetNode, now: float) -> Ineligible | None:
    """That the node is offline, or has never been there; None: it is there, or away for a moment."""
    return Ineligible(node_id=node.id, rule=ABSENT, reason=absent(node, now)) if node.there(now) is There.OFFLINE else None


def absent(node: FleetNode, now: float) -> str:
    """How it is not there, in words."""
    return "has not come yet" if node.presence is None else f"is {node.there(now)}"


def refusal(node: FleetNode, seen: RolloutView, rules: tuple[Rule, ...]) -> Ineligible | None:
    """The first no; None: the node may have it."""
    for rule in rules:
        if (reason := rule(node, seen)) is not None:
            return Ineligible(node_id=node.id, rule=rule.__name__.replace("_", "-"), reason=reason)
    return None
