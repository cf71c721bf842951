"""What is so with a running wave, as one event. Pure. What it reads of the assignments costs what changed, not what there is.

Rules, in order:

1. A bad end of any node that was touched stops the rollout, of an earlier wave too, unless the gate `probation` has another limit
   than 0: then the node gets back what it had. Another gate that fails stops the rollout too (gating.py).
2. What nodes have answered is recorded, a batch at a time.
3. A node that is silent when its time is over stops the rollout. Its time counts from the moment its desired state was handed to
   a session, never from the decision. No silence is judged while the rollout is paused, or while the coordinator that judges is
   more than MOST_BEHIND_S behind: the answers may lie in its own queue. Of many nodes a few always lose their power: they are
   left out instead, up to `max_silent` of those that got it, and not many of one hardware class.
4. The nodes of the wave get their candidates a batch at a time. One that is offline before a session was handed it, or was not by
   the rollout's deadline, is left out: it knows nothing of it.
5. The next wave starts when every node has answered and the named gates have passed, or when somebody promoted the running one.
   Who had not answered then is waited for together with the next wave.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain, islice

from littoral_cloud.rollouts.answers import NodeAnswer, answer_of, bad_end, no_answer, not_ours
from littoral_cloud.rollouts.assignments import BATCH_NODES, Assignment, AssignmentEvent, AssignmentState, moved
from littoral_cloud.rollouts.eligibility import absent
from littoral_cloud.rollouts.events import (
    LastWavePassed,
    NobodyCan,
    NobodyNow,
    NodesAnswered,
    NodesDue,
    NodesFailed,
    NodesNotReached,
    RolloutEvent,
    RolloutStopped,
    Waits,
    WavePassed,
)
from littoral_cloud.rollouts.fleet_node import FleetNode
from littoral_cloud.rollouts.gating import holds, stops, too_many_failed, verdicts_of
from littoral_cloud.rollouts.permission import moment
from littoral_cloud.rollouts.plan import OFFLINE, NextNodes, next_nodes
from littoral_cloud.rollouts.seen import RolloutView
from littoral_cloud.rollouts.state import Rollout, RolloutState, limit_s
from littoral_cloud.rollouts.wording import first_of
from littoral_cloud.rollouts.yielding import yields

MOST_BEHIND_S = 5.0
MOST_SILENT_OF_CLASS = 0.1
"""Of the nodes of one hardware class in one wave: more than that points to the release, which may not suit the class."""
WAS_SILENT = "was silent in its wave"


def observe_wave(seen: RolloutView, now: float) -> RolloutEvent:
    rollout, book = seen.rollout, seen.assignments
    if rollout.aborted_by:
        return RolloutStopped(f"aborted by {rollout.aborted_by}")
    if bad := failed_nodes(seen, now):
        words = too_many_failed(seen, f"{seen.nodes[bad[0].node_id].name}: {bad[0].why}")
        return RolloutStopped(words, tuple(bad)) if words is not None else NodesFailed(tuple(bad))
    verdicts = verdicts_of(seen)
    if (failing := stops(verdicts)) is not None:
        return failing
    if became := answered_in_wave(seen, now):
        return NodesAnswered(became)
    if (stopped := _silence(seen, now)) is not None:
        return stopped
    wave = rollout.running_wave
    if wave is not None and wave.told_at is None:
        return _next_batch(seen, wave.size - wave.told, now)
    awaited = book.answered(NodeAnswer.AWAITED)
    if not awaited:
        have_it = book.in_state(AssignmentState.COMMITTED) or book.in_state(AssignmentState.TOLD)
        held_up = holds(seen, verdicts, now, behind=seen.behind_s > MOST_BEHIND_S) if have_it else None
        return held_up or _after_wave(seen, now)
    if wave is not None and wave.promoted_by:
        after = _after_wave(seen, now)
        if isinstance(after, WavePassed | NodesDue):
            return after
    unreached = [seen.nodes[node_id] for node_id in islice(book.unreached, BATCH_NODES)]
    behind = seen.behind_s > MOST_BEHIND_S
    if not behind and (given_up := [node.id for node in unreached if now >= _reached_by(node, rollout)]):
        return NodesNotReached(tuple(given_up))

    def how_far(a: Assignment) -> str:
        node = seen.nodes[a.node_id]
        return f"{node.name}: {no_answer(a, node, rollout.model)}"

    told = first_of(awaited.values(), how_far)
    since = book.first_silence()
    until = min([*([] if since is None else [due(rollout, since)]), *(_reached_by(node, rollout) for node in unreached)])
    if behind and now >= until:
        return Waits((f"this coordinator, which is {seen.behind_s:.0f} s behind", *told), now + MOST_BEHIND_S)
    return Waits(told, until)


def _reached_by(node: FleetNode, rollout: Rollout) -> float:
    """Until when a session has to be handed what is wanted of a node: it is left out once it is offline, or the deadline came."""
    there = node.presence is not None and node.presence.connected
    return rollout.deadline if there or node.presence is None else min(rollout.deadline, node.presence.gone_at)


def due(rollout: Rollout, since: float) -> float:
    """When a node must have answered that says nothing since then."""
    return since + limit_s(rollout.policy, RolloutState.WAVE) + rollout.paused_s


def _silence(seen: RolloutView, now: float) -> RolloutStopped | NodesNotReached | None:
    rollout, book = seen.rollout, seen.assignments
    since = book.first_silence()
    if since is None or now < due(rollout, since) or rollout.paused_by or seen.behind_s > MOST_BEHIND_S:
        return None
    limit = limit_s(rollout.policy, RolloutState.WAVE)
    late = book.silent_since(now - limit - rollout.paused_s)
    if _are_few(late, seen):
        return NodesNotReached(tuple(a.node_id for a in late[:BATCH_NODES]), WAS_SILENT)
    words = {a.node_id: no_answer(a, seen.nodes[a.node_id], rollout.model) for a in late[:BATCH_NODES]}
    silent = ", ".join(first_of(late, lambda a: f"{seen.nodes[a.node_id].name}: {words[a.node_id]}"))
    failed = (moved(a, AssignmentEvent.SILENT, now, why=f"{words[a.node_id]}, after {limit:g} s") for a in late[:BATCH_NODES])
    return RolloutStopped(f"{silent}, after {limit:g} s", tuple(failed))


def _are_few(late: Sequence[Assignment], seen: RolloutView) -> bool:
    """Whether a fleet of this size always has as many silent nodes: of all that got it, in earlier waves too, and of each
    hardware class in the running wave."""
    rollout, book = seen.rollout, seen.assignments
    before = sum(a.why == WAS_SILENT for a in book.in_state(AssignmentState.DROPPED).values())
    if before + len(late) > rollout.policy.max_silent * sum(rollout.given.values()):
        return False
    told = Counter(_class_of(id, seen) for id in book.of_wave(rollout.waves_started))
    silent = Counter(_class_of(a.node_id, seen) for a in late)
    return all(count <= max(1, told[kind] * MOST_SILENT_OF_CLASS) for kind, count in silent.items())


def _class_of(node_id: str, seen: RolloutView) -> str:
    node = seen.nodes.get(node_id)
    return node.presence.hardware_class if node is not None and node.presence is not None else ""


def _next_batch(seen: RolloutView, left: int, now: float) -> NodesDue:
    coming = next_nodes(seen.assignments.turns(), seen, now, min(left, BATCH_NODES))
    return NodesDue(coming.assignments, coming.dropped, last=coming.all or len(coming.assignments) >= left)


def failed_nodes(seen: RolloutView, now: float) -> list[Assignment]:
    """Nodes whose candidate still stands, and that failed to take it: a batch of them, with why."""
    model, shown = seen.rollout.model, seen.assignments.evidence.nodes
    found = []
    for a in islice(seen.assignments.answered(NodeAnswer.BAD).values(), BATCH_NODES):
        why = bad_end(seen.nodes[a.node_id], model, a.generation) or ""
        found.append(moved(a, AssignmentEvent.BROKE, now, why=why, evidence=shown.get(a.node_id)))
    return found


def answered_in_wave(seen: RolloutView, now: float) -> tuple[Assignment, ...]:
    """A batch of those that have passed, or of which nothing is expected any more, as they are now."""
    book, model = seen.assignments, seen.rollout.model
    passed, others = book.answered(NodeAnswer.PASSED).values(), book.answered(NodeAnswer.NOT_OURS).values()
    return tuple(
        moved(a, AssignmentEvent.PASSED, now)
        if answer_of(a, seen.nodes.get(a.node_id), model) is NodeAnswer.PASSED
        else moved(a, AssignmentEvent.LEFT_OUT, now, why=not_ours(seen.nodes.get(a.node_id), model, a.generation) or "")
        for a in islice(chain(passed, others), BATCH_NODES)
    )


def _after_wave(seen: RolloutView, now: float) -> RolloutEvent:
    """Every node of the wave has its candidate, or was dropped: what comes next."""
    book = seen.assignments
    coming = next_nodes(book.turns(), seen, now, 1)
    if coming.assignments:
        return WavePassed()
    if coming.dropped:
        return NodesDue((), coming.dropped, last=False)
    if coming.closed and not coming.away and (yielded := yields(seen)) is not None:
        return yielded
    if coming.away or coming.closed:
        return waits_for_turn(coming, seen, now)
    if book.in_state(AssignmentState.TOLD) or book.in_state(AssignmentState.COMMITTED):
        return LastWavePassed()
    dropped = book.in_state(AssignmentState.DROPPED)
    if others := seen.rollout.yielded_to:
        return NobodyCan(f"no node is left: rollout {', '.join(others)} took over those whose maintenance windows were closed")
    if gone := [seen.nodes[id] for id, a in dropped.items() if a.why == OFFLINE and id in seen.nodes]:
        return none_there(sorted(gone, key=lambda node: node.id), now)
    return NobodyCan("no node is left: " + listed(first_of(sorted((id, a.why) for id, a in dropped.items()), " ".join)))


def none_there(nodes: Sequence[FleetNode], now: float) -> NobodyNow:
    return NobodyNow("no node is there that can take it: " + listed(absent_nodes(nodes, now)))


def waits_for_turn(coming: NextNodes, seen: RolloutView, now: float) -> Waits:
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


def listed(words: Iterable[str]) -> str:
    return "; ".join(words)
