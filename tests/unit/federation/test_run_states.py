"""A run's transitions: each allowed one, and that every other is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from littoral.budget import Budget
from littoral.errors import BadInput, NotFound
from littoral_cloud.federation.run import (
    FinishedRound,
    Run,
    RunState,
    WrongState,
    checked,
    crashed,
    failed,
    next_run,
    round_finished,
    round_started,
    started,
    succeeded,
)
from littoral_cloud.federation.start import choose_base
from littoral_cloud.fleet.ledger import Doc
from littoral_cloud.fleet.records import Artifact, dump, load
from tests.kit.federation import small_run

DIGEST = "sha256:" + "0" * 64


def finished(number: int) -> FinishedRound:
    return FinishedRound(
        number=number,
        seconds=1.5,
        weights="sha256:" + str(number) * 64,
        participants=("a", "b"),
        failed={"c": "silent"},
        bytes_down=10,
        bytes_up=20,
        metrics={"train_loss": 0.5},
    )


def after(run: Run, rounds: int) -> Run:
    for number in range(run.done + 1, rounds + 1):
        run = round_finished(round_started(run, number, ("a", "b", "c"), 1.0), finished(number))
    return run


def test_a_run_goes_from_pending_through_its_rounds_to_its_end_and_adds_up_what_it_cost() -> None:
    run = started(small_run("r", DIGEST), 1.0)
    assert run.weights == DIGEST
    run = succeeded(after(run, 3), 9.0)
    assert (run.state, run.done, run.finished_at) == (RunState.SUCCEEDED, 3, 9.0)
    assert (run.bytes_down, run.bytes_up, run.seconds_per_round, run.participants) == (30, 60, (1.5,) * 3, ("a", "b"))
    assert run.weights == "sha256:" + "3" * 64
    assert load(Run, Doc("run", "r", 1, dump(run))) == run


def test_a_round_that_is_started_again_keeps_its_nodes_and_its_clock() -> None:
    run = round_started(started(small_run("r", DIGEST), 1.0), 1, ("a", "b"), 5.0)
    assert round_started(run, 1, ("a",), 99.0) == run


def test_crashes_are_counted_within_a_round_only() -> None:
    run = crashed(crashed(round_started(started(small_run("r", DIGEST), 1.0), 1, ("a", "b"), 5.0)))
    assert run.crashes == 2
    assert round_finished(run, finished(1)).crashes == 0


MOVES: dict[str, tuple[Callable[[Run], Run], set[RunState]]] = {
    "started": (lambda run: started(run, 1.0), {RunState.PENDING}),
    "round_started": (lambda run: round_started(run, run.done + 1, (), 1.0), {RunState.RUNNING}),
    "round_finished": (lambda run: round_finished(run, finished(1)), set()),
    "crashed": (crashed, {RunState.RUNNING}),
    "succeeded": (lambda run: succeeded(run, 1.0), set()),
    "failed": (lambda run: failed(run, "code", "", 1.0), {RunState.PENDING, RunState.RUNNING}),
}


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("state", RunState)
def test_every_pair_of_state_and_move_is_a_move_or_a_refusal(move: str, state: RunState) -> None:
    run = replace(small_run("r", DIGEST), state=state)
    step, allowed = MOVES[move]
    if state in allowed:
        step(run)
    else:
        with pytest.raises(WrongState, match="run r"):
            step(run)


def test_a_round_out_of_turn_and_an_early_end_are_refused() -> None:
    run = started(small_run("r", DIGEST), 1.0)
    for number in (0, 2):
        with pytest.raises(WrongState):
            round_started(run, number, (), 1.0)
    with pytest.raises(WrongState):
        succeeded(after(run, 2), 1.0)
    with pytest.raises(WrongState):
        round_started(after(run, 3), 4, (), 1.0)


@pytest.mark.parametrize(
    "wrong",
    [{"rounds": 0}, {"learning_rate": 0.0}, {"fraction": 1.5}, {"min_replies": 3}, {"base_weights": "x"}, {"cohort": ("a",)},
     {"run_id": "a/b"}, {"calibration": 2.0}, {"local_epochs": 0}, {"seed": 10**20}, {"seed": -1}, {"min_nodes": 10**20},
     {"round_timeout_s": float("inf")}, {"round_timeout_s": float("nan")}, {"batch_size": 10**20}],
)  # fmt: skip
def test_a_run_that_cannot_work_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        checked(small_run(str(wrong.pop("run_id", "r")), str(wrong.pop("base_weights", DIGEST)), **wrong))


def test_a_running_run_goes_before_older_ones_that_wait_and_one_that_is_over_does_not_count() -> None:
    runs = [small_run(name, DIGEST, created_at=i) for i, name in enumerate("abc")]
    assert next_run(runs) == runs[0]
    assert next_run([runs[0], started(runs[1], 1.0), runs[2]]) == started(runs[1], 1.0)
    assert next_run([failed(run, "x", "", 1.0) for run in runs]) is None


def artifact(name: str, weights: str, size: int, accuracy: float, runtime: str = "onnxruntime") -> Artifact:
    return Artifact(
        manifest_digest=name, model="m", name=name, runtime=runtime, accuracy=accuracy, artifact_bytes=size, parameters=1,
        architecture={}, weights=weights,
    )  # fmt: skip


def test_a_run_goes_on_from_served_weights_that_fit_those_for_whom_it_is_held() -> None:
    big, middle, middle_ncnn = (
        artifact("big", "w1", 900, 0.99),
        artifact("mid", "w2", 90, 0.98),
        artifact("midn", "w2", 95, 0.98, "ncnn"),
    )
    small, unserved = artifact("small", "w3", 9, 0.97), artifact("new", "w4", 80, 0.985)
    every = [big, middle, middle_ncnn, small, unserved, artifact("none", "", 1, 1.0)]
    served = {"big", "midn", "small", "none"}
    assert choose_base(every, served, [Budget(), Budget(artifact_bytes=100)]).weights == "w2"
    assert choose_base(every, served, []).name == "big"
    assert choose_base(every, served, [Budget(artifact_bytes=10)]).name == "small"
    assert choose_base(every, set(), [Budget(artifact_bytes=100)]).name == "new"
    even = replace(small, class_accuracy={"a": 0.96, "b": 0.98})
    assert choose_base([*every[:3], even], served, [Budget(worst_class=0.95)]).name == "small"
    assert choose_base([*every[:3], even], served, [Budget(worst_class=0.97)]).name == "big"  # none fits: accuracy alone decides
    with pytest.raises(NotFound):
        choose_base([artifact("none", "", 1, 1.0)], set(), [])
