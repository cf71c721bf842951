"""What a rollout does next: `observe` gives what is so, `apply` what follows. Pure; the controller commits it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from littoral_cloud.fleet.ledger import Audit, Change, Write
from littoral_cloud.fleet.records import Desired, dump
from littoral_cloud.rollouts.answers import not_ours, unproved
from littoral_cloud.rollouts.assignments import (
    BATCH_NODES,
    Assignment,
    AssignmentEvent,
    AssignmentState,
    assignment_id,
    moved,
)
from littoral_cloud.rollouts.assignments import KIND as ASSIGNMENT
from littoral_cloud.rollouts.events import (
    ApprovalWanted,
    LastWavePassed,
    MeasurersWanted,
    NobodyCan,
    NobodyNow,
    NodesAnswered,
    NodesDue,
    NodesFailed,
    NodesGoBack,
    NodesNotReached,
    NodesYielded,
    NothingToDo,
    Planned,
    Restored,
    RolloutAborted,
    RolloutEvent,
    RolloutExpired,
    RolloutStopped,
    TurnCame,
    TurnWanted,
    Waits,
    WavePassed,
)
from littoral_cloud.rollouts.gating import remarks_of, verdicts_of
from littoral_cloud.rollouts.intents import back, candidate
from littoral_cloud.rollouts.judge import observe
from littoral_cloud.rollouts.measuring import still_to_measure
from littoral_cloud.rollouts.permission import begin_by
from littoral_cloud.rollouts.plan import sizes_left
from littoral_cloud.rollouts.planned import asked_to_measure, by_rule, planned_docs, without_trials
from littoral_cloud.rollouts.seen import RolloutView
from littoral_cloud.rollouts.state import (
    ENDED,
    KIND,
    MOVES,
    IllegalRolloutMove,
    Rollout,
    RolloutState,
    limit_s,
)
from littoral_cloud.rollouts.waves import ended, next_started, sizes_of, split, told
from littoral_cloud.rollouts.wording import nodes_in_audit, unproved_remark
from littoral_cloud.rollouts.yielding import yielded_words

ACTOR = "rollouts"
_IN_ITS_STATE = (
    *(Waits, ApprovalWanted, TurnWanted, MeasurersWanted),
    *(NodesDue, NodesAnswered, NodesFailed, NodesNotReached, NodesYielded, NodesGoBack),
)
"""Events after which the rollout stays where it was, with the time that it had."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The rollout as it shall be, the desired states of nodes, their assignments (None: it goes), and the audit lines."""

    rollout: Rollout
    desired: Mapping[str, Desired] = field(default_factory=dict)  # by node id
    audit: tuple[Audit, ...] = ()
    assignments: Mapping[str, Assignment | None] = field(default_factory=dict)  # by node id

    def changes(self, seen: RolloutView) -> Iterator[Change]:
        """To be committed one after another: of BATCH_NODES nodes each, the last with the rollout itself. Where only some were
        committed, the rollout stands as before, and the same decision made again gives the rest of them.

        Args:
            seen: what the decision was made from.
        """
        nodes = list(dict.fromkeys((*self.desired, *self.assignments)))
        batches = [nodes[start : start + BATCH_NODES] for start in range(0, len(nodes), BATCH_NODES)] or [[]]
        for batch in batches[:-1]:
            yield Change(tuple(self._of(batch, seen)))
        moved_on = self.rollout != seen.rollout
        itself = (Write(KIND, seen.rollout_id, dump(self.rollout), seen.generation),) if moved_on else ()
        yield Change((*itself, *self._of(batches[-1], seen)), self.audit)

    def _of(self, batch: Sequence[str], seen: RolloutView) -> Iterator[Write]:
        for node_id in batch:
            if node_id in self.desired:
                yield Write("desired", node_id, dump(self.desired[node_id]), seen.nodes[node_id].desired_generation)
            if node_id in self.assignments:
                generation, after = seen.assignments.held.get(node_id, (0, None))[0], self.assignments[node_id]
                yield Write(ASSIGNMENT, assignment_id(seen.rollout_id, node_id), dump(after) if after else None, generation)


def next_actions(seen: RolloutView, now: float) -> Decision | Waits:
    """What to do now, or what is waited for.

    Args:
        now: seconds since 1970-01-01 UTC.

    Raises IllegalMove: a bug.
    """
    event = observe(seen, now)
    return event if isinstance(event, Waits) else apply(seen, event, now)


def apply(seen: RolloutView, event: RolloutEvent, now: float) -> Decision:
    """What follows from an event. Raises IllegalMove where the table has no such move."""
    rollout = seen.rollout
    if (rollout.state, type(event)) not in MOVES:
        raise IllegalRolloutMove(f"rollout {seen.rollout_id}: {type(event).__name__} in {rollout.state}")
    if isinstance(event, _IN_ITS_STATE):
        return _in_its_state(seen, event, now)
    state = MOVES[rollout.state, type(event)]
    lasts = 0.0 if state in ENDED else limit_s(rollout.policy, state)
    entered = replace(rollout, state=state, entered_at=now, deadline=now + lasts, ended_at=now if state in ENDED else None)
    entered = replace(entered, paused_by="", paused_at=0.0, paused_s=0.0)  # one that is paused makes no move but to its end
    match event:
        case TurnCame(refused):
            begun = replace(entered, refused=by_rule(refused), reason="", asks_turn=False, began_at=now)
            return Decision(begun, asked_to_measure(seen, still_to_measure(replace(seen, rollout=begun), now).ask))
        case Planned(assignments, refused):
            sizes = split(len(assignments), sizes_of(rollout.policy, len(assignments)), rollout.policy.most_nodes)
            begun = replace(entered, planned=len(assignments), refused=by_rule(refused))
            begun = replace(begun, waves=next_started((), sizes[0], now), waves_to_come=len(sizes) - 1)
            return Decision(begun, without_trials(seen), (), planned_docs(seen, assignments, refused, now))
        case WavePassed():
            left = len(seen.assignments.in_state(AssignmentState.PLANNED))
            sizes = split(left, sizes_left(seen), rollout.policy.most_nodes)
            waves = next_started(ended(rollout.waves, now), sizes[0], now)
            return Decision(replace(entered, waves=waves, waves_to_come=len(sizes) - 1))
        case LastWavePassed():
            return _promoted(seen, replace(entered, waves=ended(rollout.waves, now), waves_to_come=0))
        case RolloutStopped(reason, failed):
            moved_ones = {a.node_id: a for a in failed}
            lines = (*_wave_line(seen, ()), _line(seen, "rollout.stopped", {"reason": reason}))
            stopped = replace(entered, waves=ended(rollout.waves, now), waves_to_come=0, reason=reason)
            return Decision(stopped, {}, lines, moved_ones)
        case Restored(remarks):
            nodes = nodes_in_audit("nodes", [node_id for node_id, (_, a) in seen.assignments.held.items() if a.touched])
            line = _line(seen, "rollout.rolled-back", {"reason": rollout.reason, **nodes, "remarks": list(remarks)})
            return Decision(replace(entered, remarks=(*rollout.remarks, *remarks)), {}, (line,))
        case NothingToDo(refused):
            after = replace(entered, refused=by_rule(refused), reason="every node that it fits serves it already")
            line = _line(seen, "rollout.promoted", {"nodes": []})
            return Decision(after, without_trials(seen), (line,), planned_docs(seen, (), refused, now))
        case NobodyNow(reason):
            after = replace(entered, planned=0, waves=(), waves_to_come=0, given={}, refused=(), reason=reason)
            return Decision(after, without_trials(seen), (_line(seen, "rollout.waiting", {"reason": reason}),))
        case NobodyCan(reason, refused):
            after = replace(entered, reason=reason, waves=ended(rollout.waves, now), waves_to_come=0)
            after = replace(after, refused=by_rule(refused) or rollout.refused)
            return Decision(after, without_trials(seen), (_line(seen, "rollout.failed", {"reason": reason}),))
        case RolloutExpired(reason):
            return Decision(replace(entered, reason=reason), {}, (_line(seen, "rollout.failed", {"reason": reason}),))
        case RolloutAborted(reason):
            line = _line(seen, "rollout.rolled-back", {"reason": reason, "nodes": []})
            return Decision(replace(entered, reason=reason), without_trials(seen), (line,))
    raise IllegalRolloutMove(f"rollout {seen.rollout_id}: nothing is known to follow from {type(event).__name__}")


def _in_its_state(seen: RolloutView, event: RolloutEvent, now: float) -> Decision:
    rollout = seen.rollout
    match event:
        case ApprovalWanted(share):
            policy = replace(rollout.policy, approval=True)
            asked = replace(rollout, policy=policy, deadline=begin_by(policy, rollout.created_at))
            return Decision(asked, {}, (_line(seen, "rollout.approval-wanted", {"share": round(share, 4)}),))
        case MeasurersWanted(ask):
            return Decision(rollout, asked_to_measure(seen, ask))  # who is asked now has the rest of the time
        case NodesDue():
            return _told(seen, event, now)
        case NodesAnswered(became):
            return Decision(rollout, {}, (), {a.node_id: a for a in became})
        case NodesFailed(failed):
            given_back = {a.node_id: back(seen.nodes[a.node_id], a, rollout.model)[0] for a in failed}
            return Decision(rollout, given_back, (), {a.node_id: a for a in failed})
        case NodesNotReached(nodes, why):
            held = seen.assignments.held
            dropped = {id: moved(held[id][1], AssignmentEvent.LEFT_OUT, now, why=why) for id in nodes}
            given_back = {id: back(seen.nodes[id], held[id][1], rollout.model)[0] for id in nodes}
            return Decision(rollout, given_back, (), dropped)
        case TurnWanted():
            return Decision(replace(rollout, asks_turn=True))
        case NodesYielded(to, nodes, last):
            return _yielded(seen, to, nodes, now, last=last)
        case NodesGoBack(nodes):
            return _back(seen, nodes, now)
        case _:
            return Decision(rollout)


def _told(seen: RolloutView, event: NodesDue, now: float) -> Decision:
    """Gives a batch of nodes their candidates."""
    rollout, wave = seen.rollout, seen.rollout.running_wave
    held = seen.assignments.held
    became = {id: moved(held[id][1], AssignmentEvent.LEFT_OUT, now, why=why) for id, why in event.left_out.items()}
    if wave is None or wave.told_at is not None:
        return Decision(rollout, {}, (), became)
    desired: dict[str, Desired] = {}
    for a in event.told:
        desired[a.node_id], fields = candidate(seen.nodes[a.node_id], a, seen)
        became[a.node_id] = moved(a, AssignmentEvent.TURN_CAME, now, wave=wave.number, told_at=now, **fields)
    nodes = tuple(a.node_id for a in event.told)
    waves = told(rollout.waves, nodes, now, last=event.last)
    deadline = now + limit_s(rollout.policy, RolloutState.WAVE) if nodes else rollout.deadline
    lines = _wave_line(seen, nodes) if event.last else ()
    given = Counter(rollout.given) + Counter(a.manifest_digest for a in event.told)
    return Decision(replace(rollout, waves=waves, deadline=deadline, given=dict(given)), desired, lines, became)


def _yielded(seen: RolloutView, to: str, nodes: Sequence[str], now: float, *, last: bool) -> Decision:
    """Gives a batch of nodes to another rollout: nothing was asked of them. After the last one the other may begin."""
    rollout, held, why = seen.rollout, seen.assignments.held, yielded_words(to)
    became = {id: moved(held[id][1], AssignmentEvent.LEFT_OUT, now, why=why) for id in nodes}
    if not last:
        return Decision(rollout, {}, (), became)
    its = (*(id for id, a in seen.assignments.in_state(AssignmentState.DROPPED).items() if a.why == why), *nodes)
    remark = (f"rollout {to} took over {len(its)} of its nodes, whose maintenance windows were closed",) if its else ()
    line = _line(seen, "rollout.yielded", {"to": to, **nodes_in_audit("nodes", its)})
    after = replace(rollout, yielded_to=(*rollout.yielded_to, to), remarks=(*rollout.remarks, *remark))
    return Decision(after, {}, (line,), became)


def _wave_line(seen: RolloutView, nodes: Sequence[str]) -> tuple[Audit, ...]:
    """The line of the running wave, with these nodes, where it has none yet."""
    wave = seen.rollout.running_wave
    if wave is None or wave.told_at is not None:
        return ()
    held = seen.assignments.held
    mine = (*sorted(seen.assignments.of_wave(wave.number), key=lambda id: held[id][1].order), *nodes)
    return (_line(seen, "rollout.wave-started", {"wave": wave.number, **nodes_in_audit("nodes", mine)}),) if mine else ()


def _back(seen: RolloutView, nodes: Sequence[str], now: float) -> Decision:
    """Restores the previous artifact on touched nodes whose desired state is still ours; where there was none, the model goes."""
    rollout = seen.rollout
    desired: dict[str, Desired] = {}
    became: dict[str, Assignment | None] = {}
    for node_id in nodes:
        a, node = seen.assignments.held[node_id][1], seen.nodes.get(node_id)
        if (why := not_ours(node, rollout.model, a.generation)) is not None or node is None:
            became[node_id] = moved(a, AssignmentEvent.LEFT_OUT, now, why=a.why or why or "")
            continue
        desired[node_id], generation = back(node, a, rollout.model)
        event = AssignmentEvent.TOLD_BACK if generation else AssignmentEvent.HAD_NOTHING
        became[node_id] = moved(a, event, now, restore_generation=generation)
    deadline = now + limit_s(rollout.policy, RolloutState.ROLLING_BACK)
    return Decision(replace(rollout, deadline=deadline), desired, (), became)


def _promoted(seen: RolloutView, rollout: Rollout) -> Decision:
    kept = [id for id in seen.assignments.in_state(AssignmentState.COMMITTED) if id in seen.nodes]
    unseen = [id for id in kept if unproved(seen.nodes[id], rollout.model)]
    said = nodes_in_audit("nodes", kept) | (nodes_in_audit("unproved", unseen) if unseen else {})
    verdicts = verdicts_of(seen)
    said |= {"gates": {name: str(verdict) for name, verdict in verdicts.items()}}
    remarks = (*rollout.remarks, *unproved_remark([seen.nodes[id].name for id in unseen]), *remarks_of(rollout.policy, verdicts))
    return Decision(replace(rollout, remarks=remarks), {}, (_line(seen, "rollout.promoted", said),))


def _line(seen: RolloutView, action: str, details: Mapping[str, object]) -> Audit:
    return Audit(action, seen.rollout_id, ACTOR, {"release": seen.rollout.release_id, **details})
