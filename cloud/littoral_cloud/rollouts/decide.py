"""What a rollout does next: `observe` gives what is so, `apply` what follows. Pure; the controller commits it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from littoral_cloud.fleet.ledger import Audit, Change, Write
from littoral_cloud.fleet.records import Desired, DesiredModel, Probation, dump
from littoral_cloud.rollouts.judge import observe
from littoral_cloud.rollouts.measuring import still_to_measure
from littoral_cloud.rollouts.plan import next_wave, passed_probation, previous, sizes_left, unproved
from littoral_cloud.rollouts.seen import FleetNode, RolloutView
from littoral_cloud.rollouts.state import (
    ENDED,
    KIND,
    MOVES,
    Assignment,
    IllegalRolloutMove,
    Ineligible,
    LastWavePassed,
    MeasurersWanted,
    NobodyCan,
    NobodyNow,
    NothingToDo,
    Planned,
    Restored,
    Rollout,
    RolloutAborted,
    RolloutEvent,
    RolloutExpired,
    RolloutStopped,
    TurnCame,
    Waits,
    WavePassed,
    limit_s,
)
from littoral_cloud.rollouts.wave_judge import not_ours
from littoral_cloud.rollouts.waves import ended, with_waves
from littoral_cloud.rollouts.wording import first_of, nodes_in_audit

ACTOR = "rollouts"
UNJUDGED = Probation(duration_s=0.0, max_accuracy_drop=1.0, max_failure_rate=1.0)
"""For the way back: what served before is not judged again."""
MAX_SAID = 2**52
"""What a node says that it was asked for counts below this alone: no cloud ever came so far."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The rollout as it shall be, the desired state of nodes, and the audit lines: one Change."""

    rollout: Rollout
    desired: Mapping[str, Desired]  # by node id
    audit: tuple[Audit, ...]

    def change(self, seen: RolloutView) -> Change:
        writes = [Write(KIND, seen.rollout_id, dump(self.rollout), seen.generation)]
        for node_id, desired in self.desired.items():
            writes.append(Write("desired", node_id, dump(desired), seen.nodes[node_id].desired_generation))
        return Change(tuple(writes), self.audit)


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
    state = MOVES[rollout.state, type(event)]
    lasts = 0.0 if state in ENDED else limit_s(rollout.policy, state)
    moved = replace(rollout, state=state, entered_at=now, deadline=now + lasts, ended_at=now if state in ENDED else None)
    moved = replace(moved, paused_by="", paused_at=0.0)  # a rollout that is paused makes no move but one to its end
    match event:
        case Waits():
            return Decision(rollout, {}, ())
        case TurnCame(cohort, refused):
            moved = replace(moved, cohort=cohort, refused=refused, reason="")
            return Decision(moved, _asked(seen, still_to_measure(seen, cohort, now).ask), ())
        case MeasurersWanted(ask):
            return Decision(rollout, _asked(seen, ask), ())  # who is asked now has the rest of the time
        case Planned(assignments, refused):
            moved = replace(moved, assignments=assignments, refused=_joined(rollout.refused, refused))
            return _start_wave(seen, moved, now, _without_trials(seen))
        case WavePassed(dropped):
            moved = replace(moved, assignments=_dropped(rollout.assignments, dropped), waves=ended(rollout.waves, now))
            return _start_wave(seen, moved, now, {})
        case LastWavePassed(dropped):
            left = next_wave(seen, _dropped(rollout.assignments, dropped), now).dropped
            assignments = _dropped(rollout.assignments, {**left, **dropped})
            nodes = [a.node_id for a in assignments if passed_probation(a, seen)]
            unseen = [node_id for node_id in nodes if unproved(seen.nodes[node_id], rollout.model)]
            moved = replace(moved, assignments=assignments, waves=ended(rollout.waves, now), remarks=_unproved(unseen, seen))
            said = nodes_in_audit("nodes", nodes) | (nodes_in_audit("unproved", unseen) if unseen else {})
            return Decision(moved, {}, (_line(seen, "rollout.promoted", said),))
        case RolloutStopped(reason):
            return _roll_back(seen, moved, reason, now)
        case Restored(remarks):
            moved = replace(moved, remarks=(*rollout.remarks, *remarks))
            touched = nodes_in_audit("nodes", [a.node_id for a in rollout.assignments if a.touched])
            details = {"reason": rollout.reason, **touched, "remarks": list(remarks)}
            return Decision(moved, {}, (_line(seen, "rollout.rolled-back", details),))
        case NothingToDo(refused):
            moved = replace(moved, refused=_joined(rollout.refused, refused), reason="every node that it fits serves it already")
            return Decision(moved, _without_trials(seen), (_line(seen, "rollout.promoted", {"nodes": []}),))
        case NobodyNow(reason):
            moved = replace(moved, cohort=(), assignments=(), waves=(), refused=(), reason=reason)
            return Decision(moved, _without_trials(seen), (_line(seen, "rollout.waiting", {"reason": reason}),))
        case NobodyCan(reason, refused):
            moved = replace(moved, refused=_joined(rollout.refused, refused), reason=reason, waves=ended(rollout.waves, now))
            return Decision(moved, _without_trials(seen), (_line(seen, "rollout.failed", {"reason": reason}),))
        case RolloutExpired(reason):
            return Decision(replace(moved, reason=reason), {}, (_line(seen, "rollout.failed", {"reason": reason}),))
        case RolloutAborted(reason):
            line = _line(seen, "rollout.rolled-back", {"reason": reason, "nodes": []})
            return Decision(replace(moved, reason=reason), _without_trials(seen), (line,))
    raise IllegalRolloutMove(f"rollout {seen.rollout_id}: nothing is known to follow from {type(event).__name__}")


def _start_wave(seen: RolloutView, rollout: Rollout, now: float, desired: Mapping[str, Desired]) -> Decision:
    """Gives the next nodes their candidates. `rollout` has its assignments; its started waves have ended."""
    changed = dict(desired)
    chosen = next_wave(seen, rollout.assignments, now)
    assignments = _dropped(rollout.assignments, chosen.dropped)
    touched = []
    for a in assignments:
        if a.node_id in chosen.assignments:
            node, a = seen.nodes[a.node_id], chosen.assignments[a.node_id]
            base = changed.get(a.node_id, node.desired)
            generation = next_generation(node, rollout.model)
            changed[a.node_id] = base.with_model(
                rollout.model,
                DesiredModel(
                    manifest_digest=a.manifest_digest,
                    rollout_id=seen.rollout_id,
                    generation=generation,
                    probation=rollout.policy.probation,
                    chosen_for=a.chosen_for,
                    defer_s=rollout.policy.defer_s,
                ),
            )
            before = node.wanted(rollout.model)
            a = replace(
                a, generation=generation, previous=previous(node, seen), previous_for=before.chosen_for if before else None
            )
        touched.append(a)
    sizes = sizes_left(seen, touched)
    waves = with_waves(rollout.waves, chosen.nodes, touched, sizes, rollout.policy.most_nodes, now)
    number = sum(wave.started_at is not None for wave in waves)
    line = _line(seen, "rollout.wave-started", {"wave": number, **nodes_in_audit("nodes", chosen.nodes)})
    return Decision(replace(rollout, assignments=tuple(touched), waves=waves), changed, (line,))


def _roll_back(seen: RolloutView, rollout: Rollout, reason: str, now: float) -> Decision:
    """Restores the previous artifact on every touched node whose desired state is still ours; removes the model where there was
    none."""
    changed: dict[str, Desired] = {}
    assignments = []
    for a in rollout.assignments:
        node = seen.nodes.get(a.node_id)
        if a.touched and node is not None and not_ours(node, a, rollout) is None:
            if a.previous:
                generation = next_generation(node, rollout.model)
                back = DesiredModel(
                    manifest_digest=a.previous,
                    rollout_id=seen.rollout_id,
                    generation=generation,
                    probation=UNJUDGED,
                    chosen_for=a.previous_for,
                )
                changed[a.node_id] = node.desired.with_model(rollout.model, back)
                a = replace(a, restore_generation=generation)
            else:
                changed[a.node_id] = node.desired.without_model(rollout.model)
        assignments.append(a)
    line = _line(seen, "rollout.stopped", {"reason": reason})
    moved = replace(rollout, assignments=tuple(assignments), waves=ended(rollout.waves, now), reason=reason)
    return Decision(moved, changed, (line,))


def _unproved(node_ids: Sequence[str], seen: RolloutView) -> tuple[str, ...]:
    if not node_ids:
        return ()
    who = ", ".join(first_of(sorted(seen.nodes[node_id].name for node_id in node_ids)))
    return (f"{who}: saw no request in probation, so its probe alone speaks for it",)


def next_generation(node: FleetNode, model: str) -> int:
    """Larger than any that the node ever saw of this model, over withdrawals and a ledger that began anew."""
    report = node.report(model)
    said = report.desired_generation + 1 if report and report.desired_generation < MAX_SAID else 1
    return max(node.desired_generation + 1, node.desired.next_generation_of(model), said)


def _asked(seen: RolloutView, ask: Mapping[str, Sequence[str]]) -> dict[str, Desired]:
    """Args:
    ask: manifest digests to measure, by node id.
    """
    changed = {}
    for node_id, digests in ask.items():
        desired = seen.nodes[node_id].desired
        changed[node_id] = replace(desired, benchmarks=tuple(dict.fromkeys((*desired.benchmarks, *digests))))
    return changed


def _without_trials(seen: RolloutView) -> dict[str, Desired]:
    ours = seen.digests
    changed = {}
    for node_id in seen.rollout.cohort:
        node = seen.nodes.get(node_id)
        if node is not None and not ours.isdisjoint(node.desired.benchmarks):
            changed[node_id] = replace(node.desired, benchmarks=tuple(t for t in node.desired.benchmarks if t not in ours))
    return changed


def _dropped(assignments: Sequence[Assignment], why: Mapping[str, str]) -> tuple[Assignment, ...]:
    return tuple(replace(a, dropped=why[a.node_id]) if a.node_id in why else a for a in assignments)


def _joined(before: Sequence[Ineligible], after: Sequence[Ineligible]) -> tuple[Ineligible, ...]:
    return tuple({no.node_id: no for no in (*before, *after)}.values())


def _line(seen: RolloutView, action: str, details: Mapping[str, object]) -> Audit:
    return Audit(action, seen.rollout_id, ACTOR, {"release": seen.rollout.release_id, **details})
