"""What a rollout waits for, in words: since when, until when, who can move it, and what happens then. Pure.

Everything is read from what the next decision is made from, so it says what a coordinator would say. `explain.py` is about nodes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite

from littoral_cloud.fleet.records import UpdateState
from littoral_cloud.rollouts.answers import NodeAnswer
from littoral_cloud.rollouts.assignments import Assignment, AssignmentState
from littoral_cloud.rollouts.events import Waits
from littoral_cloud.rollouts.gating import undecided, verdicts_of
from littoral_cloud.rollouts.judge import observe
from littoral_cloud.rollouts.permission import approve_by, not_yet
from littoral_cloud.rollouts.seen import RolloutView
from littoral_cloud.rollouts.state import ENDED, ON_EXPIRY, RolloutState, Unsure
from littoral_cloud.rollouts.steering import why_not_promoted
from littoral_cloud.rollouts.windows import opens_at
from littoral_cloud.rollouts.wording import first_of

S = RolloutState

NEXT_STEP = ("the coordinator's next step, which comes by itself",)
"""What a rollout that can go on waits for, where a coordinator carries it out."""


@dataclass(frozen=True, slots=True)
class NodesInState:
    """`first`: names of a few, and how many more there are."""

    state: str
    nodes: int
    first: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RolloutExplanation:
    """Times are seconds since 1970-01-01 UTC; None: there is none.

    Attributes:
        since: when it came to its state, or was paused, or ended.
        until: when what it waits for comes by itself, or is given up; `then`: what happens at that time.
        movers: who can move it before, and by what.
    """

    state: RolloutState
    paused_by: str
    since: float
    waits_for: tuple[str, ...]
    until: float | None
    then: str
    movers: tuple[str, ...]
    nodes: tuple[NodesInState, ...]
    reason: str = ""  # why it ended so, or goes back
    promotable: bool = False  # whether an operator may start the next wave now


def explain_rollout(seen: RolloutView, now: float, *, carried_out: bool = False) -> RolloutExplanation:
    """What is known of a rollout, which may have ended.

    Args:
        carried_out: whether the coordinator that answers carries it out: then it waits for no other to be started.
    """
    rollout, event = seen.rollout, observe(seen, now)
    waits: tuple[str, ...] = ()
    movers: tuple[str, ...] = ()
    until, then = None, "nothing more happens"
    if rollout.state not in ENDED and isinstance(event, Waits):
        waits, movers = event.waits_for, tuple(_movers(seen, event, now))
        until, then = _deadline(seen, event, now)
    elif rollout.state not in ENDED and carried_out:
        waits, then = NEXT_STEP, "it goes on"
    elif rollout.state not in ENDED:  # it can go on now
        waits, movers, then = ("a coordinator",), ("a coordinator: littoral-cloud serve",), "it goes on"
    since = rollout.paused_at if rollout.paused_by else rollout.ended_at or rollout.entered_at
    why = rollout.reason if rollout.state in (*ENDED, S.ROLLING_BACK) else ""
    may = rollout.state is S.WAVE and why_not_promoted(seen, now) is None
    standing = _standing(seen, now)
    return RolloutExplanation(rollout.state, rollout.paused_by, since, waits, until, then, movers, standing, why, may)


def _deadline(seen: RolloutView, waits: Waits, now: float) -> tuple[float | None, str]:
    """Until when it waits, and what happens then."""
    rollout = seen.rollout
    if rollout.paused_by:
        return None, "nothing happens by itself; a node that fails still stops it"
    until = waits.until if isfinite(waits.until) else None
    if rollout.state is S.PENDING and not_yet(rollout, seen.rollout_id, now) is not None:
        needs_approval = rollout.policy.approval and not rollout.approved_by
        return (approve_by(rollout), ON_EXPIRY[S.PENDING]) if needs_approval else (until, "it begins")
    if _waits_for_gates(seen, waits):
        goes_on = rollout.policy.unsure is Unsure.CONTINUE
        return until, "the next wave starts without their answer" if goes_on else "the rollout is stopped and rolls back"
    if _waits_for_turns(seen, waits):
        return until, "the nodes that are there then, with an open window, have their turn"
    return until, ON_EXPIRY[rollout.state]


def _waits_for_gates(seen: RolloutView, waits: Waits) -> bool:
    """Whether every node of the wave has answered, and gates need more evidence."""
    if seen.rollout.state is not S.WAVE or seen.assignments.answered(NodeAnswer.AWAITED) or not seen.rollout.policy.gates:
        return False
    return waits.waits_for == undecided(seen.rollout.policy, verdicts_of(seen))


def _waits_for_turns(seen: RolloutView, waits: Waits) -> bool:
    """Whether it waits for nodes that were asked for nothing yet: they are away, or their window is closed."""
    if seen.rollout.state is S.MEASURING:
        return all(seen.digests.isdisjoint(seen.nodes[id].desired.benchmarks) for id in waits.nodes)
    return seen.rollout.state is S.WAVE and not seen.assignments.answered(NodeAnswer.AWAITED)


def _movers(seen: RolloutView, waits: Waits, now: float) -> Iterator[str]:
    rollout, id = seen.rollout, seen.rollout_id
    command = "littoral-cloud rollout"
    if rollout.paused_by:
        yield f"an operator: {command} resume {id}"
    elif rollout.state is S.PENDING and rollout.policy.approval and not rollout.approved_by:
        yield f"an operator other than {rollout.started_by or 'who started it'}: {command} approve {id}"
    elif waits.nodes or seen.assignments.answered(NodeAnswer.AWAITED):
        yield "these nodes"
    elif _waits_for_gates(seen, waits):
        yield "requests and labelled examples on the nodes that have it"
    if rollout.state is S.WAVE and why_not_promoted(seen, now) is None:
        yield f"an operator: {command} promote {id}"
    if rollout.state is not S.ROLLING_BACK:
        yield f"an operator: {command} abort {id}"


def _standing(seen: RolloutView, now: float) -> tuple[NodesInState, ...]:
    """How many nodes stand how, in the order in which a node goes through it; then those that are left out, by rule."""
    found: dict[str, list[str]] = {}
    for state in AssignmentState:
        if state is not AssignmentState.REFUSED:
            for a in seen.assignments.in_state(state).values():
                found.setdefault(_stands(a, seen, now), []).append(_name(a.node_id, seen))
    counts = [NodesInState(state, len(names), first_of(sorted(names))) for state, names in found.items()]
    for rule in seen.rollout.refused:
        names = [_name(no.node_id, seen) for no in rule.first]
        more = (f"and {rule.nodes - len(names)} more",) if rule.nodes > len(names) else ()
        counts.append(NodesInState(f"left out: {rule.rule}", rule.nodes, (*names, *more)))
    return tuple(counts)


_WORDS = {
    AssignmentState.COMMITTED: "has it",
    AssignmentState.FAILED: "failed",
    AssignmentState.RESTORING: "goes back",
    AssignmentState.RESTORED: "went back",
    AssignmentState.DROPPED: "dropped",
}


def _stands(a: Assignment, seen: RolloutView, now: float) -> str:
    """In a few words."""
    if a.state in _WORDS:
        return _WORDS[a.state]
    if (node := seen.nodes.get(a.node_id)) is None:
        return "not part of the fleet any more"
    if a.state is AssignmentState.PLANNED:
        return "its window is closed" if opens_at(node, now, seen.rollout.policy.window) > now else "waits for its turn"
    report, away = node.report(seen.rollout.model), "" if node.connected else ", away"
    if report is None or report.desired_generation != a.generation:
        return f"asked, no answer{away}"
    return (
        f"DEFERRED ({report.deferral.reason})"
        if report.state is UpdateState.DEFERRED and report.deferral
        else f"{report.state}{away}"
    )


def _name(node_id: str, seen: RolloutView) -> str:
    return seen.nodes[node_id].name if node_id in seen.nodes else node_id
