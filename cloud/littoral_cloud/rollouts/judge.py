"""What is so with a rollout now, read from the ledger's documents, as one event. Pure.

A node that goes silent after it got a candidate stops the rollout when the wave's time is over: the new model may have hurt it.
A node that is offline before its turn is left out; one that is away for a moment is waited for. Where no node is there that
could take the release, the rollout waits for the first that comes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import Enum, auto

from littoral_cloud.fleet.records import Enrolment, UpdateState
from littoral_cloud.rollouts.eligibility import ABSENT, absence, absent, refusal
from littoral_cloud.rollouts.measuring import still_to_measure
from littoral_cloud.rollouts.plan import make_plan, next_wave, passed_probation
from littoral_cloud.rollouts.seen import FleetNode, RolloutView
from littoral_cloud.rollouts.state import (
    ENDED,
    Assignment,
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
    RolloutState,
    RolloutStopped,
    TurnCame,
    Waits,
    WavePassed,
    limit_s,
)
from littoral_cloud.rollouts.wording import first_of

BAD_ENDS = (UpdateState.FAILED, UpdateState.ROLLED_BACK, UpdateState.ABORTED)


def observe(seen: RolloutView, now: float) -> RolloutEvent:
    """What is so, in the rollout's state. An ended rollout waits for nothing, for ever."""
    if seen.rollout.state in ENDED:
        return Waits((), float("inf"))
    return {
        RolloutState.PENDING: _observe_pending,
        RolloutState.MEASURING: _observe_measuring,
        RolloutState.WAVE: _observe_wave,
        RolloutState.ROLLING_BACK: _observe_rolling_back,
    }[seen.rollout.state](seen, now)


def _observe_pending(seen: RolloutView, now: float) -> RolloutEvent:
    rollout = seen.rollout
    if rollout.aborted_by:
        return RolloutAborted(f"aborted by {rollout.aborted_by}")
    place = (rollout.created_at, seen.rollout_id)
    before = sorted(
        id
        for id, other in seen.others.items()
        if other.model == rollout.model
        and (other.state is not RolloutState.PENDING or ((other.created_at, id) < place and not _named_are_gone(other, seen)))
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
        return NobodyNow("no node is there that can take it: " + _listed(_absent(could, now)))
    if now >= rollout.deadline:
        return RolloutExpired(f"no node came within {rollout.policy.pending_s:g} s: {_listed(_absent(could, now))}")
    return Waits(_absent(could, now), rollout.deadline, frozenset(node.id for node in could))


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
    if coming.away:
        return _waits_for_return(coming.away, seen, now)
    if plan.already:
        return NothingToDo(plan.refused)
    gone = {no.node_id for no in plan.refused if no.rule == ABSENT} | coming.offline
    if gone:
        return NobodyNow("no node is there that can take it: " + _listed(_absent([seen.nodes[id] for id in sorted(gone)], now)))
    return NobodyCan(_summary(plan.refused, seen), plan.refused)


def _observe_wave(seen: RolloutView, now: float) -> RolloutEvent:
    rollout = seen.rollout
    if rollout.aborted_by:
        return RolloutStopped(f"aborted by {rollout.aborted_by}")
    dropped = _dropped_since(seen)
    ours = [a for a in rollout.assignments if a.touched and not a.dropped and a.node_id not in dropped]
    if (bad := next(filter(None, (_bad_end(a, seen) for a in ours)), None)) is not None:
        return RolloutStopped(bad)
    running = frozenset(rollout.running_wave.nodes if rollout.running_wave else ())
    awaited = {a.node_id: a for a in ours if a.node_id in running and answer_in_wave(a, seen) is NodeAnswer.AWAITED}
    due = {node_id: _due(seen.nodes[node_id], rollout) for node_id in awaited}
    if late := [a for node_id, a in awaited.items() if now >= due[node_id]]:
        silent = ", ".join(first_of(late, lambda a: _no_answer(a, seen)))
        return RolloutStopped(f"{silent}, after {limit_s(rollout.policy, RolloutState.WAVE):g} s")
    if awaited:
        told = first_of(list(awaited.values()), lambda a: _no_answer(a, seen))
        return Waits(told, min(due.values()), frozenset(awaited))
    return _after_wave(seen, dropped, now)


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
    current = report is not None and report.desired_generation == a.generation
    return f"{node.name}: {report.state if report and current else 'no answer'}"


def _after_wave(seen: RolloutView, dropped: Mapping[str, str], now: float) -> RolloutEvent:
    """Every node of the wave has its candidate, or was dropped: what comes next."""
    left = tuple(replace(a, dropped=dropped.get(a.node_id, a.dropped)) for a in seen.rollout.assignments)
    coming = next_wave(seen, left, now)
    if coming.nodes:
        return WavePassed(dropped)
    if coming.away:
        return _waits_for_return(coming.away, seen, now)
    if any(a.touched and not a.dropped for a in left):
        return LastWavePassed(dropped)
    if gone := coming.offline:
        return NobodyNow("no node is there that can take it: " + _listed(_absent([seen.nodes[id] for id in sorted(gone)], now)))
    return NobodyCan("no node is left: " + _listed(first_of(sorted(dropped.items()), " ".join)))


def _due(node: FleetNode, rollout: Rollout) -> float:
    """When a node of the running wave must have answered. A node that went and came back since the wave began, as all do whose
    coordinator was started again, has its patience from then on."""
    if node.presence is None or node.presence.since <= rollout.entered_at:
        return rollout.deadline
    return max(rollout.deadline, node.presence.gone_at)


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


def not_ours(node: FleetNode | None, a: Assignment, rollout: Rollout) -> str | None:
    """Why nothing is expected of a touched node any more; None: what was asked of it still stands."""
    if node is None or node.node.enrolment is not Enrolment.ACCEPTED:
        return "is not part of the fleet any more"
    wanted = node.wanted(rollout.model)
    if wanted is None or wanted.generation != a.generation:
        return "was asked for something else meanwhile"
    return None


def _waits_for_return(away: Sequence[str], seen: RolloutView, now: float) -> Waits:
    nodes = [seen.nodes[id] for id in away]
    until = min(node.presence.gone_at for node in nodes if node.presence is not None)
    return Waits(_absent(nodes, now), until, frozenset(away))


def _absent(nodes: Sequence[FleetNode], now: float) -> tuple[str, ...]:
    """That each is away or offline, in words; of many, the first."""
    return first_of(nodes, lambda node: f"{node.name} {absent(node, now)}")


def _listed(words: Sequence[str]) -> str:
    return "; ".join(words)


def _summary(refused: Sequence[Ineligible], seen: RolloutView) -> str:
    if not refused:
        return "no node is enrolled"

    def name(node_id: str) -> str:
        return seen.nodes[node_id].name if node_id in seen.nodes else node_id

    return _listed(first_of(refused, lambda no: f"{name(no.node_id)} {no.reason}"))
