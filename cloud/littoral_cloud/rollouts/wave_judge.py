"""What is so with a running wave, as one event. Pure.

Rules, in order:

1. A bad end of any node that was touched stops the rollout, of an earlier wave too.
2. A node that is silent when its time is over stops the rollout. No silence is judged while the rollout is paused, or while
   the coordinator that judges is more than MOST_BEHIND_S behind: the answers may lie in its own queue.
3. The next wave starts when every node has answered, or when somebody promoted the running one. Who had not answered then is
   waited for together with the next wave.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import Enum, auto

from littoral_cloud.fleet.records import Enrolment, UpdateState
from littoral_cloud.rollouts.eligibility import absent
from littoral_cloud.rollouts.permission import moment
from littoral_cloud.rollouts.plan import NextWave, next_wave, passed_probation
from littoral_cloud.rollouts.seen import FleetNode, RolloutView
from littoral_cloud.rollouts.state import (
    Assignment,
    LastWavePassed,
    NobodyCan,
    NobodyNow,
    Rollout,
    RolloutEvent,
    RolloutState,
    RolloutStopped,
    Waits,
    WavePassed,
    limit_s,
)
from littoral_cloud.rollouts.wording import first_of

BAD_ENDS = (UpdateState.FAILED, UpdateState.ROLLED_BACK, UpdateState.ABORTED)
MOST_BEHIND_S = 5.0


def observe_wave(seen: RolloutView, now: float) -> RolloutEvent:
    rollout = seen.rollout
    if rollout.aborted_by:
        return RolloutStopped(f"aborted by {rollout.aborted_by}")
    dropped = _dropped_since(seen)
    if bad := failed_nodes(seen):
        return RolloutStopped(bad[0])
    ours = [a for a in rollout.assignments if a.touched and not a.dropped and a.node_id not in dropped]
    awaited = {a.node_id: a for a in ours if answer_in_wave(a, seen) is NodeAnswer.AWAITED}
    awaited = {node_id: awaited[node_id] for node_id in _judged_now(rollout) if node_id in awaited}
    if not awaited:
        return _after_wave(seen, dropped, now)
    if rollout.running_wave is not None and rollout.running_wave.promoted_by:
        after = _after_wave(seen, dropped, now)
        if isinstance(after, WavePassed):
            return after
    due = {node_id: _due(seen.nodes[node_id], rollout) for node_id in awaited}
    late = [a for node_id, a in awaited.items() if now >= due[node_id]]
    if late and not rollout.paused_by and seen.behind_s <= MOST_BEHIND_S:
        silent = ", ".join(first_of(late, lambda a: _no_answer(a, seen)))
        return RolloutStopped(f"{silent}, after {limit_s(rollout.policy, RolloutState.WAVE):g} s")
    told = first_of(list(awaited.values()), lambda a: _no_answer(a, seen))
    if late:
        behind = f"this coordinator, which is {seen.behind_s:.0f} s behind"
        return Waits((behind, *told), now + MOST_BEHIND_S, frozenset(awaited))
    return Waits(told, min(due.values()), frozenset(awaited))


def _judged_now(rollout: Rollout) -> list[str]:
    """Nodes whose answer is waited for, if they have not answered: of the running wave, and of waves that were promoted."""
    return [id for w in rollout.waves if w.started_at is not None and (w.ended_at is None or w.promoted_by) for id in w.nodes]


def failed_nodes(seen: RolloutView) -> list[str]:
    """Of the nodes whose candidate still stands: how each failed to take it, in an operator's words."""
    touched = (a for a in seen.rollout.assignments if a.touched and not a.dropped)
    ours = (a for a in touched if not_ours(seen.nodes.get(a.node_id), a, seen.rollout) is None)
    return [bad for a in ours if (bad := _bad_end(a, seen)) is not None]


def _dropped_since(seen: RolloutView) -> dict[str, str]:
    """Touched nodes of which nothing is expected any more, and why; by node id."""
    touched = [a for a in seen.rollout.assignments if a.touched and not a.dropped]
    found = {a.node_id: not_ours(seen.nodes.get(a.node_id), a, seen.rollout) for a in touched}
    return {node_id: why for node_id, why in found.items() if why is not None}


def _bad_end(a: Assignment, seen: RolloutView) -> str | None:
    """How a node failed to take its candidate, in an operator's words; None: it has not."""
    node = seen.nodes[a.node_id]
    report = node.report(seen.rollout.model)
    if report is None or report.desired_generation != a.generation or report.state not in BAD_ENDS:
        return None
    return f"{node.name}: {report.state}: {report.reason or 'no reason given'}: {report.detail}".rstrip(": ")


class NodeAnswer(Enum):
    """How far a node that was touched is with its candidate, or on its way back."""

    AWAITED = auto()
    PASSED = auto()
    BAD = auto()
    NOT_OURS = auto()  # something else is wanted of it, or it left the fleet: nothing is expected of it


def answer_in_wave(a: Assignment, seen: RolloutView) -> NodeAnswer:
    """Of a node that got its candidate. One of an earlier wave is not waited for any more; a bad end of it still counts."""
    if not_ours(seen.nodes.get(a.node_id), a, seen.rollout) is not None:
        return NodeAnswer.NOT_OURS
    if _bad_end(a, seen) is not None:
        return NodeAnswer.BAD
    return NodeAnswer.PASSED if passed_probation(a, seen) else NodeAnswer.AWAITED


def _no_answer(a: Assignment, seen: RolloutView) -> str:
    """How far a node of the running wave is, in an operator's words."""
    node = seen.nodes[a.node_id]
    report = node.report(seen.rollout.model)
    if report is None or report.desired_generation != a.generation:
        return f"{node.name}: no answer"
    why = f" ({report.deferral.reason})" if report.state is UpdateState.DEFERRED and report.deferral is not None else ""
    return f"{node.name}: {report.state}{why}"


def _after_wave(seen: RolloutView, dropped: Mapping[str, str], now: float) -> RolloutEvent:
    """Every node of the wave has its candidate, or was dropped: what comes next."""
    left = tuple(replace(a, dropped=dropped.get(a.node_id, a.dropped)) for a in seen.rollout.assignments)
    coming = next_wave(seen, left, now)
    if coming.nodes:
        return WavePassed(dropped)
    if coming.away or coming.closed:
        return waits_for_turn(coming, seen, now)
    if any(a.touched and not a.dropped for a in left):
        return LastWavePassed(dropped)
    if gone := coming.offline:
        return none_there([seen.nodes[id] for id in sorted(gone)], now)
    return NobodyCan("no node is left: " + listed(first_of(sorted(dropped.items()), " ".join)))


def _due(node: FleetNode, rollout: Rollout) -> float:
    """When a node of the running wave must have answered. A node that went and came back since the wave began, as all do whose
    coordinator was started again, has its patience from then on. One that puts its update off, or did, has that time too."""
    deadline = rollout.deadline + (rollout.policy.defer_s if _has_deferred(node, rollout) else 0.0)
    if node.presence is None or node.presence.since <= rollout.entered_at:
        return deadline
    return max(deadline, node.presence.gone_at)


def _has_deferred(node: FleetNode, rollout: Rollout) -> bool:
    report, wanted = node.report(rollout.model), node.wanted(rollout.model)
    current = report is not None and wanted is not None and report.desired_generation == wanted.generation
    return current and report is not None and report.deferral is not None


def not_ours(node: FleetNode | None, a: Assignment, rollout: Rollout) -> str | None:
    """Why nothing is expected of a touched node any more; None: what was asked of it still stands."""
    if node is None or node.node.enrolment is not Enrolment.ACCEPTED:
        return "is not part of the fleet any more"
    wanted = node.wanted(rollout.model)
    if wanted is None or wanted.generation != a.generation:
        return "was asked for something else meanwhile"
    return None


def none_there(nodes: Sequence[FleetNode], now: float) -> NobodyNow:
    return NobodyNow("no node is there that can take it: " + listed(absent_nodes(nodes, now)))


def waits_for_turn(coming: NextWave, seen: RolloutView, now: float) -> Waits:
    """Nodes that are away for a moment, and nodes whose maintenance window is closed: each has its turn as soon as it can."""
    away = [seen.nodes[id] for id in coming.away]
    ends = [node.presence.gone_at for node in away if node.presence is not None]
    windows = first_of(
        sorted(coming.closed, key=lambda id: (coming.closed[id], id)),
        lambda id: f"the maintenance window of {seen.nodes[id].name}, from {moment(coming.closed[id])} on",
    )
    words = (*absent_nodes(away, now), *windows)
    return Waits(words, min([*ends, *coming.closed.values()]), frozenset((*coming.away, *coming.closed)))


def absent_nodes(nodes: Sequence[FleetNode], now: float) -> tuple[str, ...]:
    """That each is away or offline, in words; of many, the first."""
    return first_of(nodes, lambda node: f"{node.name} {absent(node, now)}")


def listed(words: Sequence[str]) -> str:
    return "; ".join(words)
