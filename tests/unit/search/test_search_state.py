"""Workers that do nothing but claim, finish, die and stop, over a real study: whatever they do, the search ends the same."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from littoral.budget import Budget
from littoral_cloud.search.moves import MOST_DEATHS, Draw, End, Enter, Lose, Train, WaitForWorkers, next_move
from littoral_cloud.search.recipe import SearchRecipe
from littoral_cloud.search.state import LAPSED, TrialOutcome, TrialRun, taken, valid
from littoral_cloud.search.store import FolderStore, MemoryStore, SearchStore
from littoral_cloud.search.study import Study
from littoral_cloud.search.worker import drawn
from tests.kit.search import tiny

RECIPE = tiny(trials=14, batch=4, rungs=[0.1, 0.5, 1.0])


def outcome(run: TrialRun) -> TrialOutcome:
    """What training would have given: the same for the same run, whoever trains it."""
    rng = random.Random(hashlib.sha256(repr((sorted(run.params.items()), run.rung)).encode()).digest())
    size = rng.randrange(500, 20_000)
    return TrialOutcome(
        rng.random(), 0.5, "a", size, size + 100, rng.randrange(1000, 90_000), 0.1, 0.2, 100, "ncnn", "sha256:0", 1.0
    )


class Worker:
    """One process: it can be stepped, and die with a lease in its hands."""

    def __init__(self, name: str, recipe: SearchRecipe, store: SearchStore) -> None:
        self.recipe, self.store, self.study = recipe, store, Study("s", recipe, store)
        self.at: tuple[TrialRun, int] | None = None
        self.passed: set[int] = set()
        self.ended = False

    def step(self) -> None:
        if self.at is not None:
            run, token = self.at
            self.at = None
            self.study.done(run, outcome(run))
            self.store.release(run.lease, token)
            return
        runs = self.study.runs()
        leases = [run.lease for run in valid(runs).values() if run.state in ("waiting", "running")]
        match next_move(runs, self.recipe.settings, None, self.store.leased(leases), passed_over=self.passed):
            case Train(run):
                token = self.store.take(run.lease, 1.0)
                if token is not None and self.study.claim(run):
                    self.at = run, token
                else:
                    self.passed.add(run.id)
            case Lose(run):
                self.study.lost(run, LAPSED)
            case Enter(entries):
                self.study.enter(entries)
            case Draw() as move:
                self.study.enter(drawn(self.recipe, move, runs))
            case WaitForWorkers():
                self.passed.clear()
            case End():
                self.ended = True

    def die(self) -> None:
        """Its lease lapses; what it was at stays as it is."""
        if self.at is not None:
            self.store.release(self.at[0].lease, self.at[1])
        self.at = None


def results(runs: Sequence[TrialRun]) -> set[tuple[int, int, str, float]]:
    return {(r.number, r.rung, repr(r.params), r.outcome.accuracy) for r in valid(runs).values() if r.outcome}


@pytest.fixture(scope="module")
def alone() -> set[tuple[int, int, str, float]]:
    worker = Worker("w", RECIPE, MemoryStore())
    while not worker.ended:
        worker.step()
    found = results(worker.study.runs())
    per_rung = Counter(rung for _, rung, *_ in found)
    assert per_rung == {0: 14, 1: 7, 2: 4}  # batches of 4, 4, 4 and 2
    return found


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 4))
def test_whoever_dies_when_the_search_has_the_same_trials_and_none_twice(
    alone: set[tuple[int, int, str, float]], seed: int, count: int
) -> None:
    rng = random.Random(seed)
    store = MemoryStore()
    workers = [Worker(str(i), RECIPE, store) for i in range(count)]
    for _ in range(3000):
        place = rng.randrange(count)
        if rng.random() < 0.08:
            workers[place].die()
            workers[place] = Worker("again", RECIPE, store)
        workers[place].step()
        if all(worker.ended for worker in workers):
            break
    else:
        raise AssertionError("the search does not end")
    runs = workers[0].study.runs()
    assert results(runs) == alone
    done = Counter((run.number, run.rung) for run in runs if run.state == "done")
    assert set(done.values()) == {1}


def test_who_was_taken_for_dead_and_comes_back_counts_for_nothing() -> None:
    store = MemoryStore()
    slow, quick = Worker("slow", RECIPE, store), Worker("quick", RECIPE, store)
    while slow.at is None:
        slow.step()
    run, token = slow.at
    store.release(run.lease, token)  # its lease lapsed, and it does not know
    while (run.number, run.rung) not in {(r.number, r.rung) for r in quick.study.runs() if r.state == "done"}:
        quick.step()
    assert not slow.study.done(run, outcome(run))
    assert not slow.store.renew(run.lease, token, 1.0)
    assert [r.attempt for r in slow.study.runs() if r.number == run.number and r.state == "done"] == [1]


def test_values_that_every_worker_dies_of_are_given_up() -> None:
    recipe = tiny(trials=1, batch=1, rungs=[1.0])
    store = MemoryStore()
    deaths = 0
    worker = Worker("w", recipe, store)
    while not worker.ended:
        worker.step()
        if worker.at is not None:
            worker.die()
            deaths += 1
    assert deaths == MOST_DEATHS
    [(key, run)] = valid(worker.study.runs()).items()
    assert (key, run.state) == ((0, 0), "failed")
    assert run.problem == f"its worker died {MOST_DEATHS} times"


def test_a_journal_holds_lines_of_json_and_survives_a_torn_one(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.append(["a", "b"])
    with (tmp_path / "journal.jsonl").open("ab") as file:
        file.write(b'{"torn')  # kill -9 in the middle of a write
    assert FolderStore(tmp_path).read(0) == ["a", "b"]
    store.append(["c"])
    assert FolderStore(tmp_path).read(1) == ["b", "c"]


def test_a_student_is_taken_once_batches_in_a_row_have_not_bettered_it() -> None:
    plain = tiny(trials=20, batch=2, rungs=[1.0], patience=2).settings

    def run(number: int, accuracy: float, size: int = 100) -> TrialRun:
        measured = TrialOutcome(accuracy, accuracy, "a", size, size, 1, 0.1, 0.2, 10, "ncnn", f"sha256:{number}", 1.0)
        return TrialRun(number, number, number // 2, 2, 0, 0, {}, "done", measured)

    budget = Budget.parse("artifact<=1KB")
    runs = [run(0, 0.9), run(1, 0.95), run(2, 0.94), run(3, 0.99, size=5_000)]
    assert taken(runs, plain, budget) is None  # one batch without a better one that fits
    better = taken([*runs, run(4, 0.96), run(5, 0.5)], plain, budget)
    assert better is None
    found = taken([*runs, run(4, 0.95), run(5, 0.5)], plain, budget)
    assert found is not None
    assert found.number == 1
