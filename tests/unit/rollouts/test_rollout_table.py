"""Every pair of state and event is a move, or refused on purpose."""

from __future__ import annotations

from dataclasses import replace

import pytest

from littoral_cloud.rollouts.decide import apply
from littoral_cloud.rollouts.state import (
    ENDED,
    EVENTS,
    LIMITS,
    MOVES,
    ON_EXPIRY,
    Assignment,
    IllegalRolloutMove,
    LastWavePassed,
    MeasurersWanted,
    NobodyCan,
    NobodyNow,
    NothingToDo,
    Planned,
    Restored,
    RolloutAborted,
    RolloutEvent,
    RolloutExpired,
    RolloutPolicy,
    RolloutState,
    RolloutStopped,
    TurnCame,
    Waits,
    Wave,
    WavePassed,
    limit_s,
)
from tests.kit.rollout_world import World, artifact

GOOD = artifact("good")
PLANNED = Assignment(node_id="b", manifest_digest=GOOD.manifest_digest, name="good", previous="")

EXAMPLES: dict[type[RolloutEvent], RolloutEvent] = {
    Waits: Waits(("for ever",), 2e9),
    TurnCame: TurnCame(("a", "b"), ()),
    MeasurersWanted: MeasurersWanted({"b": (GOOD.manifest_digest,)}),
    Planned: Planned((PLANNED,), ()),
    NothingToDo: NothingToDo(()),
    NobodyNow: NobodyNow("nobody is there"),
    NobodyCan: NobodyCan("nobody"),
    WavePassed: WavePassed({}),
    LastWavePassed: LastWavePassed({}),
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
    world = World([GOOD])
    for node_id in ("a", "b"):
        world.add_node(node_id)
    id = world.start(world.release(1, GOOD))
    seen = world.snapshot().of(id)
    first = replace(PLANNED, node_id="a", generation=1)
    begun = replace(seen.rollout, state=state, cohort=("a", "b"), assignments=(first, PLANNED))
    seen = replace(seen, rollout=replace(begun, waves=(Wave(nodes=("a",), started_at=1.0), Wave(nodes=("b",)))))
    if (state, event) in MOVES:
        decision = apply(seen, EXAMPLES[event], 2_000.0)
        moved = decision.rollout
        assert moved.state is MOVES[state, event]
        if event is MeasurersWanted:  # time goes on for those that are asked later, too
            assert moved == seen.rollout
            assert decision.desired["b"].benchmarks == (GOOD.manifest_digest,)
        elif event is not Waits:
            assert (moved.ended_at == 2_000.0) == (moved.state in ENDED)
            assert moved.deadline == 2_000.0 + (0 if moved.state in ENDED else limit_s(moved.policy, moved.state))
        decision.change(seen)  # it can be written down
    else:
        with pytest.raises(IllegalRolloutMove):
            apply(seen, EXAMPLES[event], 2_000.0)


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
