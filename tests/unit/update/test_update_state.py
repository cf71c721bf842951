"""The update's table and step: every pair is a move or a refusal on purpose, and no path does harm."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral_node.supervision.failures import CRASHES
from littoral_node.update import events as e
from littoral_node.update import state as s
from littoral_node.update.events import RestorePrevious, RetryStep, RunStep, UpdateEvent
from littoral_node.update.state import ENDS, MOVES, IllegalUpdateMove, ModelUpdateState, Update, step
from littoral_node.update.steps import STEPS

EVENTS: list[type[UpdateEvent]] = sorted(UpdateEvent.__subclasses__(), key=lambda kind: kind.__name__)
GOOD_WAY = [
    e.Started,
    e.Ready,
    e.Reserved,
    e.Fetched,
    e.Verified,
    e.Loaded,
    e.Shadowed,
    e.Swapped,
    e.ProbationPassed,
    e.Committed,
]


def event_of(kind: type[UpdateEvent], generation: int = 1) -> UpdateEvent:
    texts: dict[str, tuple[object, ...]] = {
        "GivenUp": ("crash-loop", "d"),
        "ProbationFailed": ("accuracy-drop", "d"),
        "StepFailed": ("no-space", "d"),
        "OutOfReach": ("d",),
        "Deferred": (e.Deferral("busy", 9.0),),
    }
    return kind(generation, *texts.get(kind.__name__, ()))


def fresh(**fields: object) -> Update:
    return Update("digits", "sha256:" + "a" * 64, 1, **fields)  # type: ignore[arg-type]


def test_the_good_way_names_every_step_in_order() -> None:
    update, steps = fresh(), []
    for kind in GOOD_WAY:
        update, effects = step(update, event_of(kind), 0.0)
        steps += [effect.step for effect in effects if isinstance(effect, RunStep)]
    assert update.state is ModelUpdateState.SUCCEEDED
    assert steps == list(STEPS)


@pytest.mark.parametrize("state", sorted(set(ModelUpdateState) - ENDS))
@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_every_pair_of_state_and_event_is_a_move_or_refused(state: ModelUpdateState, kind: type[UpdateEvent]) -> None:
    if (state, kind) in MOVES:
        after, _ = step(fresh(state=state), event_of(kind), 0.0)
        assert after.state is MOVES[state, kind]
    else:
        with pytest.raises(IllegalUpdateMove, match=kind.__name__):
            step(fresh(state=state), event_of(kind), 0.0)


@pytest.mark.parametrize("state", sorted(ENDS))
@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_an_end_is_an_end_but_what_succeeded_may_be_given_up(state: ModelUpdateState, kind: type[UpdateEvent]) -> None:
    if (state, kind) == (ModelUpdateState.SUCCEEDED, e.GivenUp):
        after, effects = step(fresh(state=state), event_of(kind), 0.0)
        assert (after.state, after.reason) == (ModelUpdateState.ROLLED_BACK, "crash-loop")
        assert effects == (e.CloseCandidate(),)  # what serves instead does so already
        return
    assert step(fresh(state=state), event_of(kind), 0.0) == (fresh(state=state), ())


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_an_event_of_another_update_changes_nothing(kind: type[UpdateEvent]) -> None:
    assert step(fresh(), event_of(kind, generation=2), 0.0) == (fresh(), ())


def test_every_active_state_has_a_limit_and_every_state_can_be_left() -> None:
    for state in set(ModelUpdateState) - ENDS:
        assert s.LIMIT_S[state] > 0
        for way_out in (e.StepFailed, e.TimedOut, e.Superseded):
            assert MOVES[state, way_out] in ENDS


def test_a_crash_in_probation_begins_the_probation_again_and_the_third_gives_up() -> None:
    update = fresh(state=ModelUpdateState.PROBATION)
    for _ in range(2):
        update, effects = step(update, e.AgentCrashed(1), 0.0)
        assert update.state is ModelUpdateState.VERIFYING
        assert effects == (RunStep("verify"),)
        for kind in (e.Verified, e.Loaded, e.Shadowed, e.Swapped):
            update, _ = step(update, event_of(kind), 0.0)
    update, _ = step(update, e.AgentCrashed(1), 0.0)
    assert (update.state, update.reason) == (ModelUpdateState.ROLLED_BACK, "crash-loop")


def test_a_model_that_crashes_the_agent_while_it_loads_is_given_up() -> None:
    update = fresh(state=ModelUpdateState.VERIFYING)
    for _ in range(3):
        update, _ = step(update, e.AgentCrashed(1), 0.0)
    assert (update.state, update.reason) == (ModelUpdateState.FAILED, "crash-loop")


def test_crashes_while_downloading_never_give_an_update_up() -> None:
    update = fresh(state=ModelUpdateState.DOWNLOADING)
    for _ in range(20):
        update, effects = step(update, e.AgentCrashed(1), 0.0)
        assert effects == (RunStep("download"),)
    assert update.state is ModelUpdateState.DOWNLOADING


def test_an_orderly_restart_is_no_crash() -> None:
    update = fresh(state=ModelUpdateState.PROBATION)
    for _ in range(10):
        update, effects = step(update, e.AgentDrained(1), 0.0)
        assert not any(isinstance(effect, RunStep | RetryStep) for effect in effects)
        update, effects = step(update, e.AgentResumed(1), 5.0)
        assert effects == (RunStep("verify"),)
        assert update.deadline == 5.0 + s.LIMIT_S[ModelUpdateState.VERIFYING]
        for kind in (e.Verified, e.Loaded, e.Shadowed, e.Swapped):
            update, _ = step(update, event_of(kind), 0.0)
    assert update.state is ModelUpdateState.PROBATION


@given(st.lists(st.sampled_from(EVENTS), max_size=40))
def test_whatever_comes_the_way_back_is_taken_exactly_when_the_trial_ends_badly(kinds: list[type[UpdateEvent]]) -> None:
    update = fresh()
    for now, kind in enumerate(kinds):
        before = update
        try:
            update, effects = step(update, event_of(kind), float(now))
        except IllegalUpdateMove:
            assert (before.state, kind) not in MOVES
            continue
        left_trial_badly = (
            before.state is ModelUpdateState.PROBATION
            and update.state in ENDS - {ModelUpdateState.SUCCEEDED}
            and kind is not e.AgentCrashed
        )
        assert (RestorePrevious() in effects) == left_trial_badly or kind is e.AgentCrashed
        next_steps = [effect for effect in effects if isinstance(effect, RunStep | RetryStep)]
        if before.state in ENDS:
            assert effects == () or (before.state is ModelUpdateState.SUCCEEDED and kind is e.GivenUp)
        elif update.state in ENDS:
            assert next_steps == []
        elif kind is not e.AgentDrained:
            assert len(next_steps) == 1
        if update.state in (ModelUpdateState.FAILED, ModelUpdateState.ROLLED_BACK, ModelUpdateState.ABORTED):
            assert update.reason
        if update.state is ModelUpdateState.SUCCEEDED:
            assert update.reason == ""
        assert 0 <= before.crashes <= update.crashes <= CRASHES
