"""What is so with a rollout now, read from the ledger's documents, as one event. Pure.

A node that goes silent after it got a candidate stops the rollout when the wave's time is over: the new model may have hurt it.
A node that is offline before its turn is left out; one that is away for a moment is waited for. Where no node is there that
could take the release, the rollout waits for the first that comes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, islice

from littoral_cloud.fleet.records import Enrolment
from littoral_cloud.rollouts.answers import NodeAnswer, answer_of, bad_end, not_ours
from littoral_cloud.rollouts.assignments import BATCH_NODES, Assignment, AssignmentEvent, AssignmentState, Ineligible, moved
from littoral_cloud.rollouts.eligibility import ABSENT, absence, refusal, share_that_could_take
from littoral_cloud.rollouts.events import (
    ApprovalWanted,
    MeasurersWanted,
    NobodyCan,
    NodesAnswered,
    NodesGoBack,
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
)
from littoral_cloud.rollouts.measuring import still_to_measure
from littoral_cloud.rollouts.permission import not_yet
from littoral_cloud.rollouts.plan import make_plan, next_nodes
from littoral_cloud.rollouts.seen import RolloutView
from littoral_cloud.rollouts.state import ENDED, Rollout, RolloutState
from littoral_cloud.rollouts.wave_judge import absent_nodes, listed, none_there, observe_wave, waits_for_turn
from littoral_cloud.rollouts.wording import first_of
from littoral_cloud.rollouts.yielding import asking


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
    """While it is paused, a rollout makes no move but to its end: it is stopped, or aborted. Answers are still recorded."""
    if isinstance(event, RolloutStopped | RolloutAborted | NodesAnswered):
        return event
    waits_for = event.waits_for if isinstance(event, Waits) else ()
    return Waits((f"somebody to resume it: {rollout.paused_by} paused it", *waits_for), float("inf"))


def _observe_pending(seen: RolloutView, now: float) -> RolloutEvent:
    rollout = seen.rollout
    if rollout.aborted_by:
        return RolloutAborted(f"aborted by {rollout.aborted_by}")
    if (waits := not_yet(rollout, seen.rollout_id, now)) is not None:
        return waits
    if (share := _asks_approval(seen)) is not None:
        return ApprovalWanted(share)
    place = (rollout.created_at, seen.rollout_id)
    before = sorted(
        id
        for id, other in seen.others.items()
        if other.model == rollout.model and (_runs(other, seen) or _comes_first(other, id, place, seen, now))
    )
    if before and now >= rollout.deadline:
        return RolloutExpired(f"rollout {before[0]} did not end within {rollout.policy.pending_s:g} s")
    if before and not rollout.asks_turn and all(_runs(seen.others[id], seen) for id in before):
        return TurnWanted()
    if before:
        return Waits(tuple(f"rollout {id} to end" for id in before), rollout.deadline)
    refused = [no for node in seen.nodes.values() if (no := refusal(node, seen)) is not None]
    out = {no.node_id for no in refused}
    could = [seen.nodes[id] for id in sorted(seen.nodes) if id not in out]
    if not could:
        return NobodyCan(_summary(refused, seen), tuple(refused))
    if any(node.connected for node in could):
        gone = [no for node in could if (no := absence(node, now)) is not None]
        return TurnCame((*refused, *gone))
    if not rollout.reason:
        return none_there(could, now)
    if now >= rollout.deadline:
        return RolloutExpired(f"no node came within {rollout.policy.pending_s:g} s: {listed(absent_nodes(could, now))}")
    return Waits(absent_nodes(could, now), rollout.deadline, frozenset(node.id for node in could))


def _asks_approval(seen: RolloutView) -> float | None:
    """The part of the fleet that it could reach, where that is more than one person may decide."""
    policy = seen.rollout.policy
    if policy.approval or policy.way_back or seen.approval_above >= 1:
        return None
    share = share_that_could_take(seen)
    return share if share > seen.approval_above else None


def _runs(other: Rollout, seen: RolloutView) -> bool:
    """Whether its turn came, and it has not yielded to this one."""
    return other.state is not RolloutState.PENDING and seen.rollout_id not in other.yielded_to


def _comes_first(other: Rollout, id: str, place: tuple[float, str], seen: RolloutView, now: float) -> bool:
    """Of two that wait: the older one, if it may begin and some node of it is there."""
    if other.state is not RolloutState.PENDING:
        return False
    return (other.created_at, id) < place and not_yet(other, id, now) is None and not _named_are_gone(other, seen)


def _named_are_gone(other: Rollout, seen: RolloutView) -> bool:
    """Whether it was started for some nodes by name, none of which is there: then it holds back no other rollout."""
    named = [seen.nodes[id] for id in other.policy.nodes if id in seen.nodes]
    return bool(named) and not any(node.connected for node in named)


def _observe_measuring(seen: RolloutView, now: float) -> RolloutEvent:
    rollout = seen.rollout
    if rollout.aborted_by:
        return RolloutAborted(f"aborted by {rollout.aborted_by}")
    left = still_to_measure(seen, now)
    if left.ask and now < rollout.deadline:
        return MeasurersWanted(left.ask)
    if left.nodes and now < rollout.deadline:
        return Waits(left.waits_for, min(rollout.deadline, left.until), left.nodes)
    plan = make_plan(seen, now)
    coming = next_nodes(plan.assignments, seen, now, 1)
    if coming.assignments:
        return Planned(plan.assignments, plan.refused)
    if coming.closed and not coming.away and asking(seen) is not None:
        return Planned(plan.assignments, plan.refused)  # what is planned can be yielded
    if coming.away or coming.closed:
        return waits_for_turn(coming, seen, now)
    if plan.already:
        return NothingToDo(plan.refused)
    gone = {no.node_id for no in plan.refused if no.rule == ABSENT}
    others_are_there = any(node.connected and refusal(node, seen) is None for node in seen.nodes.values())
    if gone and not others_are_there:  # else its turn would come again at once
        return none_there([seen.nodes[id] for id in sorted(gone)], now)
    return NobodyCan(_summary(plan.refused, seen), plan.refused)


def _observe_rolling_back(seen: RolloutView, now: float) -> RolloutEvent:
    rollout, book = seen.rollout, seen.assignments
    if book.going_back:
        return NodesGoBack(tuple(islice(book.going_back, BATCH_NODES)))
    if became := _gone_back(seen, now):
        return NodesAnswered(became)
    waits = book.answered(NodeAnswer.AWAITED)
    if waits and now < rollout.deadline:
        return Waits(first_of(waits.values(), lambda a: f"{seen.nodes[a.node_id].name} to go back"), rollout.deadline)
    if waits:
        silent = islice(waits.values(), BATCH_NODES)
        return NodesAnswered(tuple(moved(a, AssignmentEvent.SILENT, now, why=SILENT) for a in silent))
    return Restored(_remarks(seen))


SILENT = "to go back: not heard of yet, it will when it is back"
_COULD_NOT = "could not go back: "


def _gone_back(seen: RolloutView, now: float) -> tuple[Assignment, ...]:
    """A batch of those that are RESTORING and have answered, as they are now."""
    book = seen.assignments
    known = chain.from_iterable(book.answered(each).values() for each in NodeAnswer if each is not NodeAnswer.AWAITED)
    return tuple(_after_way_back(a, seen, now) for a in islice(known, BATCH_NODES))


def _after_way_back(a: Assignment, seen: RolloutView, now: float) -> Assignment:
    node, model = seen.nodes.get(a.node_id), seen.rollout.model
    answer = answer_of(a, node, model)
    if node is not None and answer is NodeAnswer.PASSED:
        return moved(a, AssignmentEvent.WENT_BACK, now)
    if node is not None and answer is NodeAnswer.BAD:
        why = bad_end(node, model, a.restore_generation) or ""
        return moved(a, AssignmentEvent.BROKE, now, why=f"{_COULD_NOT}{why}")
    return moved(a, AssignmentEvent.LEFT_OUT, now, why=not_ours(node, model, a.restore_generation) or "")


def _remarks(seen: RolloutView) -> tuple[str, ...]:
    """Once, at the end of a way back."""
    book, nodes = seen.assignments, seen.nodes
    failed = [a for a in book.in_state(AssignmentState.FAILED).values() if a.node_id in nodes]
    kept = [
        a
        for a in book.in_state(AssignmentState.RESTORED).values()
        if not a.previous and a.node_id in nodes and _still_has(a, seen)
    ]
    return (
        *first_of([a for a in failed if a.why.startswith(_COULD_NOT)], lambda a: f"{nodes[a.node_id].name} {a.why}"),
        *first_of(kept, lambda a: f"{nodes[a.node_id].name} had nothing to go back to, and keeps {a.name}"),
        *first_of([a for a in failed if not a.why.startswith(_COULD_NOT)], lambda a: f"{nodes[a.node_id].name} {a.why}"),
    )


def _still_has(a: Assignment, seen: RolloutView) -> bool:
    node = seen.nodes[a.node_id]
    return node.node.enrolment is Enrolment.ACCEPTED and node.serving(seen.rollout.model) == a.manifest_digest


def _summary(refused: Sequence[Ineligible], seen: RolloutView) -> str:
    if not refused:
        return "no node is enrolled"

    def name(node_id: str) -> str:
        return seen.nodes[node_id].name if node_id in seen.nodes else node_id

    return listed(first_of(refused, lambda no: f"{name(no.node_id)} {no.reason}"))
