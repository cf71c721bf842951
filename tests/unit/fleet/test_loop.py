"""The closed loop: what is seen -> the next move."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from littoral.digest import digest_of
from littoral_cloud.federation.run import Run, RunState
from littoral_cloud.fleet.loop_memory import Memory
from littoral_cloud.fleet.records import Release
from littoral_cloud.loop import (
    GATHER_S,
    MakeRelease,
    ModelView,
    Settle,
    StartRollout,
    StartRun,
    WaitUntil,
    next_run_id,
    step,
)
from littoral_cloud.rollouts.state import Rollout, RolloutPolicy, RolloutState
from tests.kit.federation import small_run
from tests.kit.rollout_world import MODEL

NOTHING = ModelView(MODEL, {}, (), (), {})
NOW = 1_000.0


def run(state: RunState = RunState.SUCCEEDED, *, id: str = "digits-run-1", origin: Literal["operator", "loop"] = "loop") -> Run:
    at = NOW - 50 if state.terminal else 0.0
    return small_run(id, digest_of(b"w"), model=MODEL, state=state, origin=origin, created_at=NOW - 100, finished_at=at)


def release(run_id: str = "digits-run-1", *, id: str = "digits-2") -> Release:
    return Release(release_id=id, model=MODEL, kind="federated", artifacts=("x",), created_at=NOW, run_id=run_id)


def rollout(state: RolloutState, *, release_id: str = "digits-2") -> Rollout:
    return Rollout(
        release_id=release_id,
        model=MODEL,
        kind="federated",
        policy=RolloutPolicy(),
        state=state,
        created_at=NOW,
        entered_at=NOW,
        deadline=NOW,
    )


def test_nodes_that_drift_together_are_learnt_from_together() -> None:
    seen = replace(NOTHING, drifted={"b": NOW, "a": NOW + 2})
    assert step(seen, NOW + 1) == WaitUntil(NOW + GATHER_S)
    assert step(seen, NOW + GATHER_S) == StartRun(("a", "b"))


def test_nothing_is_begun_while_a_run_or_a_rollout_of_the_model_goes_on() -> None:
    drifted = replace(NOTHING, drifted={"a": 0.0})
    for state in (RunState.PENDING, RunState.RUNNING):
        assert step(replace(drifted, runs=(run(state, origin="operator"),)), NOW) == WaitUntil()
    for ongoing in (RolloutState.PENDING, RolloutState.WAVE, RolloutState.ROLLING_BACK):
        assert step(replace(drifted, rollouts={"r": rollout(ongoing, release_id="other")}), NOW) == WaitUntil()


def test_no_run_is_begun_for_nodes_that_are_all_away() -> None:
    drifted = replace(NOTHING, drifted={"a": 0.0, "b": 1.0}, away=frozenset({"a", "b"}))
    assert step(drifted, NOW) == WaitUntil()
    assert step(replace(drifted, away=frozenset({"a"})), NOW) == StartRun(("a", "b"))


def test_a_run_becomes_a_release_a_rollout_and_a_new_baseline() -> None:
    seen = replace(NOTHING, drifted={"a": 0.0}, runs=(run(),))
    assert step(seen, NOW) == MakeRelease("digits-run-1")
    seen = replace(seen, releases=(release(),))
    assert step(seen, NOW) == StartRollout("digits-2")
    seen = replace(seen, rollouts={"digits-2-r1": rollout(RolloutState.WAVE)})
    assert step(seen, NOW) == WaitUntil()
    seen = replace(seen, rollouts={"digits-2-r1": rollout(RolloutState.SUCCEEDED)}, drifted={"a": 0.0, "b": 0.0})
    kept = replace(seen, took=lambda rollout_id, node_id: (rollout_id, node_id) == ("digits-2-r1", "a"))
    assert step(kept, NOW) == Settle("digits-run-1", ("a",), NOW - 50)


def test_what_failed_is_settled_and_not_tried_again() -> None:
    assert step(replace(NOTHING, runs=(run(RunState.FAILED),)), NOW) == Settle("digits-run-1", (), NOW - 50)
    seen = replace(NOTHING, runs=(run(),), releases=(release(),), rollouts={"r": rollout(RolloutState.ROLLED_BACK)})
    assert step(seen, NOW) == Settle("digits-run-1", (), NOW - 50)
    settled = Memory(settled=("digits-run-1",))
    assert step(replace(seen, memory=settled), NOW) == WaitUntil()


def test_new_drift_after_a_settled_run_asks_for_another() -> None:
    seen = replace(NOTHING, runs=(run(),), memory=Memory(settled=("digits-run-1",)), drifted={"a": NOW})
    assert step(seen, NOW + GATHER_S) == StartRun(("a",))


def test_runs_that_an_operator_started_are_the_operators() -> None:
    assert step(replace(NOTHING, runs=(run(origin="operator"),)), NOW) == WaitUntil()


def test_a_note_for_people_decides_nothing() -> None:
    by_hand = replace(release(), kind="manual", run_id=None, note="run digits-run-1")
    assert step(replace(NOTHING, releases=(by_hand,)), NOW) == WaitUntil()
    assert step(replace(NOTHING, runs=(run(),), releases=(by_hand,)), NOW) == MakeRelease("digits-run-1")


@given(st.randoms(use_true_random=False))
def test_it_comes_to_rest_whatever_fails(rng: random.Random) -> None:
    """Every move is carried out, well or not; drift that nobody acknowledged is the only thing that begins a run."""
    seen, now, runs_begun = replace(NOTHING, drifted={"a": 0.0, "b": 5.0}), NOW, 0
    for _ in range(30):
        match step(seen, now):
            case WaitUntil(until):
                if until == float("inf"):
                    break
                now = until
            case StartRun():
                runs_begun += 1
                state = rng.choice((RunState.SUCCEEDED, RunState.FAILED))
                seen = replace(seen, runs=(*seen.runs, replace(run(state, id=f"digits-run-{runs_begun}"), finished_at=now)))
            case MakeRelease(run_id):
                if rng.random() < 0.5:
                    seen = replace(seen, releases=(*seen.releases, release(run_id, id=f"digits-{run_id}")))
                else:  # as the shell does when the command fails
                    seen = settle(seen, Settle(run_id, (), now))
            case StartRollout(release_id):
                ended = rng.choice((RolloutState.SUCCEEDED, RolloutState.ROLLED_BACK, RolloutState.FAILED))
                seen = replace(seen, rollouts={f"{release_id}-r1": rollout(ended, release_id=release_id)})
            case Settle() as move:
                seen = settle(seen, move)
    else:
        raise AssertionError("no rest after 30 moves")
    assert runs_begun == 1
    assert not seen.drifted


def settle(seen: ModelView, move: Settle) -> ModelView:
    left = {node: since for node, since in seen.drifted.items() if since > move.until}
    return replace(seen, drifted=left, memory=Memory(settled=(*seen.memory.settled, move.what)))


def test_the_number_of_a_run_is_above_all_that_are_there_though_old_ones_were_archived() -> None:
    assert next_run_id(MODEL, ()) == f"{MODEL}-run-1"
    assert next_run_id(MODEL, (run(id=f"{MODEL}-run-7"), run(id=f"{MODEL}-run-9"))) == f"{MODEL}-run-10"
    assert next_run_id(MODEL, (run(id="by-hand"), run(id="other"))) == f"{MODEL}-run-3"
