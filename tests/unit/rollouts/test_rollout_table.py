"""Every pair of state and event is a move, or refused on purpose."""

from __future__ import annotations

from dataclasses import replace

import pytest

from littoral_cloud.fleet.records import Desired, DesiredModel, dump
from littoral_cloud.rollouts import assignments
from littoral_cloud.rollouts.assignments import Assignment, AssignmentEvent, AssignmentState, IllegalAssignmentMove, moved
from littoral_cloud.rollouts.decide import apply
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
from littoral_cloud.rollouts.seen import snapshot_of
from littoral_cloud.rollouts.state import (
    ENDED,
    EVENTS,
    LIMITS,
    MOVES,
    ON_EXPIRY,
    IllegalRolloutMove,
    Rollout,
    RolloutPolicy,
    RolloutState,
    Wave,
    limit_s,
)
from tests.kit.rollout_world import MODEL, World, artifact

GOOD, OLD = artifact("good"), artifact("old")
ID = "digits-1-r1"
PLANNED = Assignment(rollout_id=ID, node_id="b", manifest_digest=GOOD.manifest_digest, name="good", previous="", order=1)
TOLD = Assignment(
    rollout_id=ID,
    node_id="a",
    state=AssignmentState.TOLD,
    manifest_digest=GOOD.manifest_digest,
    name="good",
    previous=OLD.manifest_digest,
    wave=1,
    generation=1,
    told_at=1.0,
)
IN_PLACE = (MeasurersWanted, NodesDue, NodesAnswered, NodesFailed, NodesNotReached, NodesYielded, NodesGoBack)
"""Events after which the time that the state has goes on."""

EXAMPLES: dict[type[RolloutEvent], RolloutEvent] = {
    Waits: Waits(("for ever",), 2e9),
    ApprovalWanted: ApprovalWanted(0.5),
    TurnWanted: TurnWanted(),
    TurnCame: TurnCame(()),
    MeasurersWanted: MeasurersWanted({"b": (GOOD.manifest_digest,)}),
    Planned: Planned((PLANNED,), ()),
    NothingToDo: NothingToDo(()),
    NobodyNow: NobodyNow("nobody is there"),
    NobodyCan: NobodyCan("nobody"),
    NodesDue: NodesDue((PLANNED,), {}, last=True),
    NodesAnswered: NodesAnswered((moved(TOLD, AssignmentEvent.LEFT_OUT, 2_000.0, why="left"),)),
    NodesFailed: NodesFailed((moved(TOLD, AssignmentEvent.BROKE, 2_000.0, why="broke"),)),
    NodesNotReached: NodesNotReached(("a",)),
    NodesYielded: NodesYielded("digits-2-r1", ("b",), last=True),
    NodesGoBack: NodesGoBack(("a",)),
    WavePassed: WavePassed(),
    LastWavePassed: LastWavePassed(),
    RolloutStopped: RolloutStopped("stop"),
    RolloutExpired: RolloutExpired("late"),
    RolloutAborted: RolloutAborted("enough"),
    Restored: Restored(()),
}


def test_every_event_has_an_example() -> None:
    assert set(EXAMPLES) == set(EVENTS)


@pytest.mark.parametrize("state", RolloutState)
@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
def test_every_pair_of_state_and_event_is_a_move_or_a_refusal(state: RolloutState, event: type[RolloutEvent]) -> None:
    world = World([GOOD, OLD])
    for node_id in ("a", "b"):
        world.add_node(node_id)
    id = world.start(world.release(1, GOOD))
    assert id == ID
    for a in (TOLD, PLANNED):
        world.put("assignment", assignments.assignment_id(id, a.node_id), dump(a))
    wanted = DesiredModel(manifest_digest=GOOD.manifest_digest, rollout_id=id, generation=1)
    world.put("desired", "a", dump(Desired(models={MODEL: wanted})))
    wave = Wave(number=1, size=2, told=1, first=("a",), started_at=1.0)
    world.edit("rollout", id, Rollout, state=state, planned=2, waves=(wave,))
    seen = snapshot_of(world.docs.values(), also=id).of(id)
    if (state, event) not in MOVES:
        with pytest.raises(IllegalRolloutMove):
            apply(seen, EXAMPLES[event], 2_000.0)
        return
    decision = apply(seen, EXAMPLES[event], 2_000.0)
    after = decision.rollout
    assert after.state is MOVES[state, event]
    if event is MeasurersWanted:  # time goes on for those that are asked later, too
        assert after == seen.rollout
        assert decision.desired["b"].benchmarks == (GOOD.manifest_digest,)
    elif event is ApprovalWanted:
        assert after == replace(seen.rollout, policy=after.policy, deadline=after.deadline)
        assert after.policy.approval
    elif event is TurnWanted:
        assert after == replace(seen.rollout, asks_turn=True)
    elif event in IN_PLACE:
        assert after.entered_at == seen.rollout.entered_at
        assert decision.assignments
    elif event is not Waits:
        assert (after.ended_at == 2_000.0) == (after.state in ENDED)
        assert after.deadline == 2_000.0 + (0 if after.state in ENDED else limit_s(after.policy, after.state))
    for change in decision.changes(seen):  # it can be written down
        world.commit(change)


@pytest.mark.parametrize("state", AssignmentState)
@pytest.mark.parametrize("event", AssignmentEvent)
def test_every_pair_of_what_a_node_gets_and_what_comes_to_it_is_a_move_or_a_refusal(
    state: AssignmentState, event: AssignmentEvent
) -> None:
    a = replace(TOLD, state=state)
    if (state, event) in assignments.MOVES:
        after = moved(a, event, 7.0, why="so")
        assert (after.state, after.at, after.why) == (assignments.MOVES[state, event], 7.0, "so")
    else:
        with pytest.raises(IllegalAssignmentMove):
            moved(a, event, 7.0)


def test_every_state_of_an_assignment_that_is_left_has_a_deadline_and_each_can_be_reached() -> None:
    assert set(assignments.DEADLINES) == {state for state, _ in assignments.MOVES}
    reached = {AssignmentState.PLANNED, AssignmentState.REFUSED}  # a plan writes these two
    while more := {to for (state, _), to in assignments.MOVES.items() if state in reached} - reached:
        reached |= more
    assert reached == set(AssignmentState)


def test_an_end_is_never_left() -> None:
    assert not {state for state, _ in MOVES} & ENDED


def test_every_state_that_is_no_end_has_a_limit_and_says_what_follows_it() -> None:
    assert set(LIMITS) == set(ON_EXPIRY) == set(RolloutState) - ENDED
    assert all(limit_s(RolloutPolicy(), state) > 0 for state in LIMITS)


def test_every_end_can_be_reached() -> None:
    reached = {RolloutState.PENDING}
    while more := {to for (state, _), to in MOVES.items() if state in reached} - reached:
        reached |= more
    assert reached == set(RolloutState)
