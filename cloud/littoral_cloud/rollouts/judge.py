"""What is so with a rollout now, read from the ledger's documents, as one event. Pure.

A node that goes silent after it got a candidate stops the rollout when the wave's time is over: the new model may have hurt it.
A node that is offline before its turn is left out; one that is away for a moment is waited for. Where no node is there that
could take the release, the rollout waits for the first that comes.
"""

from __future__ import annotations

from collections.abc import Sequence

from littoral_cloud.fleet.records import Enrolment, UpdateState
from littoral_cloud.rollouts.eligibility import ABSENT, absence, refusal
from littoral_cloud.rollouts.measuring import still_to_measure
from littoral_cloud.rollouts.permission import not_yet
from littoral_cloud.rollouts.plan import make_plan, next_wave
from littoral_cloud.rollouts.seen import RolloutView
from littoral_cloud.rollouts.state import (
    ENDED,
    Assignment,
    Ineligible,
    MeasurersWanted,
    NobodyCan,
    NothingToDo,
    Planned,
    Restored,
    Rollout,
    RolloutAborted,
    RolloutEvent,
    RolloutExpired,
    RolloutState,
    RolloutStopped,
    TurnCame,
    Waits,
)
from littoral_cloud.rollouts.wave_judge import (
    BAD_ENDS,
    NodeAnswer,
    absent_nodes,
    listed,
    none_there,
    observe_wave,
    waits_for_turn,
)
from littoral_cloud.rollouts.wording import first_of


def observe(seen: RolloutView, now: float) -> RolloutEvent:
    """What is so, in the rollout's state. An ended rollout waits for nothing, for ever."""
    if seen.rollout.state in ENDED:
        return Waits((), float("inf"))
    event = {
        RolloutState.PENDING: _observe_pending,
        RolloutState.MEASURING: _observe_measuring,
        RolloutState.WAVE: observe_wave,
        RolloutState.ROLLING_BACK: _observe_rolling_back,
    }[seen.rollout.state](seen, now)
    return _held_back(event, seen.rollout) if seen.rollout.paused_by else event


def _held_back(event: RolloutEvent, rollout: Rollout) -> RolloutEvent:
    """While it is paused, a rollout makes no move but to its end: it is stopped, or aborted."""
    if isinstance(event, RolloutStopped | RolloutAborted):
        return event
    waits_for = event.waits_for if isinstance(event, Waits) else ()
    return Waits((f"somebody to resume it: {rollout.paused_by} paused it", *waits_for), float("inf"))


def _observe_pending(seen: RolloutView, now: float) -> RolloutEvent:
    rollout = seen.rollout
    if rollout.aborted_by:
        return RolloutAborted(f"aborted by {rollout.aborted_by}")
    if (waits := not_yet(rollout, seen.rollout_id, now)) is not None:
        return waits
    place = (rollout.created_at, seen.rollout_id)
    before = sorted(
        id
        for id, other in seen.others.items()
        if other.model == rollout.model and (other.state is not RolloutState.PENDING or _comes_first(other, id, place, seen, now))
    )
    if before and now >= rollout.deadline:
        return RolloutExpired(f"rollout {before[0]} did not end within {rollout.policy.pending_s:g} s")
    if before:
        return Waits(tuple(f"rollout {id} to end" for id in before), rollout.deadline)
    refused = [no for node in seen.nodes.values() if (no := refusal(node, seen)) is not None]
    out = {no.node_id for no in refused}
    could = [seen.nodes[id] for id in sorted(seen.nodes) if id not in out]
    if not could:
        return NobodyCan(_summary(refused, seen), tuple(refused))
    if any(node.connected for node in could):
        gone = [no for node in could if (no := absence(node, now)) is not None]
        out = {no.node_id for no in gone}
        return TurnCame(tuple(node.id for node in could if node.id not in out), (*refused, *gone))
    if not rollout.reason:
        return none_there(could, now)
    if now >= rollout.deadline:
        return RolloutExpired(f"no node came within {rollout.policy.pending_s:g} s: {listed(absent_nodes(could, now))}")
    return Waits(absent_nodes(could, now), rollout.deadline, frozenset(node.id for node in could))


def _comes_first(other: Rollout, id: str, place: tuple[float, str], seen: RolloutView, now: float) -> bool:
    """Of two that wait: the older one, if it may begin and some node of it is there."""
    return (other.created_at, id) < place and not_yet(other, id, now) is None and not _named_are_gone(other, seen)


def _named_are_gone(other: Rollout, seen: RolloutView) -> bool:
    """Whether it was started for some nodes by name, none of which is there: then it holds back no other rollout."""
    named = [seen.nodes[id] for id in other.policy.nodes if id in seen.nodes]
    return bool(named) and not any(node.connected for node in named)


def _observe_measuring(seen: RolloutView, now: float) -> RolloutEvent:
    rollout = seen.rollout
    if rollout.aborted_by:
        return RolloutAborted(f"aborted by {rollout.aborted_by}")
    left = still_to_measure(seen, rollout.cohort, now)
    if left.ask and now < rollout.deadline:
        return MeasurersWanted(left.ask)
    if left.nodes and now < rollout.deadline:
        return Waits(left.waits_for, min(rollout.deadline, left.until), left.nodes)
    plan = make_plan(seen, now)
    coming = next_wave(seen, plan.assignments, now)
    if coming.nodes:
        return Planned(plan.assignments, plan.refused)
    if coming.away or coming.closed:
        return waits_for_turn(coming, seen, now)
    if plan.already:
        return NothingToDo(plan.refused)
    gone = {no.node_id for no in plan.refused if no.rule == ABSENT} | coming.offline
    if gone:
        return none_there([seen.nodes[id] for id in sorted(gone)], now)
    return NobodyCan(_summary(plan.refused, seen), plan.refused)


def _observe_rolling_back(seen: RolloutView, now: float) -> RolloutEvent:
    rollout = seen.rollout
    waits: dict[str, str] = {}
    failed: list[str] = []
    kept: list[str] = []
    for a in rollout.assignments:
        node = seen.nodes.get(a.node_id)
        if not a.touched or node is None or node.node.enrolment is not Enrolment.ACCEPTED:
            continue
        report = node.report(rollout.model)
        if not a.restore_generation:
            if report is not None and report.serving == a.manifest_digest:
                kept.append(f"{node.name} had nothing to go back to, and keeps {a.name}")
            continue
        answer = answer_of_way_back(a, seen)
        if answer is NodeAnswer.BAD and report is not None:
            failed.append(f"{node.name} could not go back: {report.reason}: {report.detail}")
        elif answer is NodeAnswer.AWAITED:
            waits[a.node_id] = f"{node.name} to go back"
    if waits and now < rollout.deadline:
        return Waits(first_of(list(waits.values())), rollout.deadline, frozenset(waits))
    silent = first_of(list(waits.values()), lambda who: f"{who}: not heard of yet, it will when it is back")
    return Restored((*first_of(failed), *first_of(kept), *silent))


def answer_of_way_back(a: Assignment, seen: RolloutView) -> NodeAnswer:
    """Of a node that shall have what it had before."""
    node = seen.nodes.get(a.node_id)
    wanted = node.wanted(seen.rollout.model) if node else None
    if node is None or wanted is None or wanted.generation != a.restore_generation:
        return NodeAnswer.NOT_OURS
    report = node.report(seen.rollout.model)
    if report is None or report.desired_generation != a.restore_generation:
        return NodeAnswer.AWAITED
    if report.state in BAD_ENDS:
        return NodeAnswer.BAD
    return NodeAnswer.PASSED if report.state is UpdateState.SUCCEEDED else NodeAnswer.AWAITED


def _summary(refused: Sequence[Ineligible], seen: RolloutView) -> str:
    if not refused:
        return "no node is enrolled"

    def name(node_id: str) -> str:
        return seen.nodes[node_id].name if node_id in seen.nodes else node_id

    return listed(first_of(refused, lambda no: f"{name(no.node_id)} {no.reason}"))
