"""A whole search in memory and in a folder: its trials, its front, its students, and how it goes on."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from littoral.errors import NoFit
from littoral_cloud.search import SearchControl, SearchResult, compress, search_from
from littoral_cloud.search.front import dominates
from littoral_cloud.search.state import TrialRun, valid
from littoral_cloud.training.train import train_teacher
from tests.kit.images import bars
from tests.kit.search import body, tiny


def trials(runs: Sequence[TrialRun]) -> set[tuple[int, int, str]]:
    return {(run.number, run.rung, repr(sorted(run.params.items()))) for run in valid(runs).values() if run.state == "done"}


@pytest.fixture(scope="module")
def whole() -> SearchResult:
    """A search that nobody disturbed: two batches of two, each halved once."""
    return compress(None, bars(), recipe=tiny())


def test_every_batch_is_halved_and_the_front_is_what_nothing_beats(whole: SearchResult) -> None:
    assert whole.reason == "trials"
    done = [(run.batch, run.rung) for run in valid(whole.runs).values() if run.state == "done"]
    assert [done.count(where) for where in ((0, 0), (0, 1), (1, 0), (1, 1))] == [2, 1, 2, 1]
    assert len({repr(run.params) for run in whole.runs if run.rung == 0}) == 4
    costs = {r.number: [r.outcome.cost(o) for o in whole.recipe.settings.objectives] for r in whole.trials if r.outcome}
    assert {run.number for run in whole.front} == {
        n for n, c in costs.items() if not any(dominates(other, c) for other in costs.values())
    }
    students = whole.students()
    assert [s.manifest.name for s in students] == [f"s-{run.number}-ncnn" for run in whole.front]
    # The very networks that were measured, now on the test split.
    assert [s.manifest.parents[1] for s in students] == [run.outcome.weights for run in whole.front if run.outcome]
    assert all(s.manifest.accuracy_examples == len(bars().test_y) for s in students)


@pytest.mark.slow
def test_stopped_and_gone_on_it_has_the_same_trials_and_weights(whole: SearchResult, tmp_path: Path) -> None:
    stop = threading.Event()

    def stopping(runs: Sequence[TrialRun]) -> None:
        if sum(run.state == "done" for run in runs) == 2:
            stop.set()

    part = compress(None, bars(), recipe=tiny(), trials=2, folder=tmp_path, control=SearchControl(watch=stopping, stop=stop))
    assert part.reason == "stopped"
    assert trials(part.runs) < trials(whole.runs)
    rest = compress(None, bars(), recipe=tiny(), folder=tmp_path)  # all four trials: they are added to those that are there
    assert trials(rest.runs) == trials(whole.runs)
    assert [key for key, times in ran(rest).items() if times > 1] == []
    weights = {(r.number, r.rung): r.outcome.weights for r in whole.runs if r.outcome}
    assert {(r.number, r.rung): r.outcome.weights for r in rest.runs if r.outcome} == weights


def ran(found: SearchResult) -> Counter[tuple[int, int]]:
    return Counter((run.number, run.rung) for run in found.runs if run.state == "done")


def test_a_budget_that_nobody_meets_names_the_limit_and_the_nearest() -> None:
    found = compress(None, bars(), "artifact<=10B", recipe=tiny(trials=2, rungs=[1.0]))
    assert found.best is None
    tried = {run.number: run.outcome for run in found.trials if run.outcome}
    # Of two that are as small the more accurate one, then the first.
    first = min(tried, key=lambda number: (tried[number].artifact_bytes, -tried[number].accuracy, number))
    with pytest.raises(NoFit, match=rf"none of 2 candidates .* nearest is trial {first}, artifact_bytes: \d+ is over 10"):
        found.check()


@pytest.mark.slow
def test_a_budget_ends_the_search_at_a_student_that_is_not_bettered() -> None:
    found = compress(None, bars(), "artifact<=1MB", recipe=tiny(trials=40, batch=2, patience=1, rungs=[1.0]))
    assert found.reason == "fits"
    assert found.best is not None
    accuracy = {run.number: run.outcome.accuracy for run in found.trials if run.outcome}
    assert accuracy[found.best.number] == max(accuracy.values())
    # Of equals the faster one is taken, which may be of a later batch: what ended the search is that none was more accurate.
    first = min(run.batch for run in found.trials if accuracy[run.number] == accuracy[found.best.number])
    assert max(run.batch for run in found.runs) == first + 1


def test_a_teacher_that_is_given_stands_in_the_manifest_in_place_of_the_recipes() -> None:
    told = body(trials=1, batch=1, rungs=[1.0])
    told["teacher"] = {"architecture": {"name": "compact_cnn", "widths": [4, 8]}, "epochs": 1, "seed": 7}
    teacher = train_teacher(bars(), {"name": "compact_cnn", "widths": [8, 8]}, epochs=1, seed=1)
    [student] = compress(teacher.module, bars(), recipe=search_from(told, what="tiny.toml")).students()
    assert student.manifest.recipe["teacher"] is None
    assert student.manifest.lineage is not None
    assert student.manifest.lineage.found(student.manifest.parents, "teacher") == (teacher.digest,)
