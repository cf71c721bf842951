"""The update's table and step: every pair is a move or a refusal on purpose, and no path does harm."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from littoral_node.update import state as s
from littoral_node.update.state import ENDS, MOVES, Event, IllegalMove, Restore, Run, RunLater, State, Update, step
from littoral_node.update.steps import STEPS

EVENTS: list[type[Event]] = sorted(Event.__subclasses__(), key=lambda kind: kind.__name__)
GOOD_WAY = [s.Begun, s.Reserved, s.Fetched, s.Verified, s.Loaded, s.Swapped, s.Passed, s.Kept]


def event_of(kind: type[Event], generation: int = 1) -> Event:
    texts = {"GivenUp": ("crash-loop", "d"), "Regressed": ("accuracy-drop", "d"), "Broke": ("no-space", "d"), "Deferred": ("d",)}
    return kind(generation, *texts.get(kind.__name__, ()))


def fresh(**fields: object) -> Update:
    return Update("digits", "sha256:" + "a" * 64, 1, **fields)  # type: ignore[arg-type]


def test_the_good_way_names_every_step_in_order() -> None:
    update, steps = fresh(), []
    for kind in GOOD_WAY:
        update, effects = step(update, event_of(kind), 0.0)
        steps += [effect.step for effect in effects if isinstance(effect, Run)]
    assert update.state is State.SUCCEEDED
    assert steps == list(STEPS)


@pytest.mark.parametrize("state", sorted(set(State) - ENDS))
@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_every_pair_of_state_and_event_is_a_move_or_refused(state: State, kind: type[Event]) -> None:
    if (state, kind) in MOVES:
        after, _ = step(fresh(state=state), event_of(kind), 0.0)
        assert after.state is MOVES[state, kind]
    else:
        with pytest.raises(IllegalMove, match=kind.__name__):
            step(fresh(state=state), event_of(kind), 0.0)


@pytest.mark.parametrize("state", sorted(ENDS))
@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_an_end_is_an_end_but_what_succeeded_may_be_given_up(state: State, kind: type[Event]) -> None:
    if (state, kind) == (State.SUCCEEDED, s.GivenUp):
        after, effects = step(fresh(state=state), event_of(kind), 0.0)
        assert (after.state, after.reason) == (State.ROLLED_BACK, "crash-loop")
        assert effects == (s.Release(),)  # what serves instead does so already
        return
    assert step(fresh(state=state), event_of(kind), 0.0) == (fresh(state=state), ())


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_an_event_of_another_update_changes_nothing(kind: type[Event]) -> None:
    assert step(fresh(), event_of(kind, generation=2), 0.0) == (fresh(), ())


def test_every_active_state_has_a_limit_and_every_state_can_be_left() -> None:
    for state in set(State) - ENDS:
        assert s.LIMIT_S[state] > 0
        for way_out in (s.Broke, s.Expired, s.Superseded):
            assert MOVES[state, way_out] in ENDS


def test_a_crash_in_probation_begins_the_probation_again_and_the_third_gives_up() -> None:
    update = fresh(state=State.PROBATION)
    for _ in range(2):
        update, effects = step(update, s.Crashed(1), 0.0)
        assert update.state is State.VERIFYING
        assert effects == (Run("verify"),)
        for kind in (s.Verified, s.Loaded, s.Swapped):
            update, _ = step(update, event_of(kind), 0.0)
    update, _ = step(update, s.Crashed(1), 0.0)
    assert (update.state, update.reason) == (State.ROLLED_BACK, "crash-loop")


def test_a_model_that_crashes_the_agent_while_it_loads_is_given_up() -> None:
    update = fresh(state=State.VERIFYING)
    for _ in range(3):
        update, _ = step(update, s.Crashed(1), 0.0)
    assert (update.state, update.reason) == (State.FAILED, "crash-loop")


def test_crashes_while_downloading_never_give_an_update_up() -> None:
    update = fresh(state=State.DOWNLOADING)
    for _ in range(20):
        update, effects = step(update, s.Crashed(1), 0.0)
        assert effects == (Run("download"),)
    assert update.state is State.DOWNLOADING


def test_an_orderly_restart_is_no_crash() -> None:
    update = fresh(state=State.PROBATION)
    for _ in range(10):
        update, effects = step(update, s.Drained(1), 0.0)
        assert not any(isinstance(effect, Run | RunLater) for effect in effects)
        update, effects = step(update, s.Resumed(1), 5.0)
        assert effects == (Run("verify"),)
        assert update.deadline == 5.0 + s.LIMIT_S[State.VERIFYING]
        for kind in (s.Verified, s.Loaded, s.Swapped):
            update, _ = step(update, event_of(kind), 0.0)
    assert update.state is State.PROBATION


@given(st.lists(st.sampled_from(EVENTS), max_size=40))
def test_whatever_comes_the_way_back_is_taken_exactly_when_the_trial_ends_badly(kinds: list[type[Event]]) -> None:
    update = fresh()
    for now, kind in enumerate(kinds):
        before = update
        try:
            update, effects = step(update, event_of(kind), float(now))
        except IllegalMove:
            assert (before.state, kind) not in MOVES
            continue
        left_trial_badly = before.state is State.PROBATION and update.state in ENDS - {State.SUCCEEDED} and kind is not s.Crashed
        assert (Restore() in effects) == left_trial_badly or kind is s.Crashed
        next_steps = [effect for effect in effects if isinstance(effect, Run | RunLater)]
        if before.state in ENDS:
            assert effects == () or (before.state is State.SUCCEEDED and kind is s.GivenUp)
        elif update.state in ENDS:
            assert next_steps == []
        elif kind is not s.Drained:
            assert len(next_steps) == 1
        if update.state in (State.FAILED, State.ROLLED_BACK, State.ABORTED):
            assert update.reason
        if update.state is State.SUCCEEDED:
            assert update.reason == ""
        assert 0 <= before.crashes <= update.crashes <= s.CRASH_LIMIT
