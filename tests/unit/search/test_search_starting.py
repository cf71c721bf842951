"""A search by its name: fitted to the data, it begins with what `train` would make, and ends when nothing is gained."""

from __future__ import annotations

import io
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from littoral.budget import Budget
from littoral_cloud.cli.search_progress import SearchProgress, length
from littoral_cloud.data.dataset import Dataset
from littoral_cloud.factory.checks import check_recipe
from littoral_cloud.recipes.fitted import MANY, fitted
from littoral_cloud.search.moves import Draw, End, Enter, next_move
from littoral_cloud.search.recipe import search_named, with_trials
from littoral_cloud.search.space import START
from littoral_cloud.search.starting import search_for
from littoral_cloud.search.state import TrialOutcome, TrialRun, distinct, gains, settled
from littoral_cloud.search.trial import SearchData
from littoral_cloud.search.worker import ends
from tests.kit.images import bars
from tests.kit.measured import series, table
from tests.kit.search import tiny

EVERY = [bars(60), bars(60, channels=3, size=30), table(60), series(60)]
SETTLING = tiny(trials=40, batch=2, rungs=[1.0], settle=2, gain=0.02).settings


def outcome(accuracy: float, size: int, macs: int = 1000) -> TrialOutcome:
    return TrialOutcome(accuracy, accuracy, "a", size, size + 100, macs, 0.1, 0.2, 100, "ncnn", "sha256:0", 1.0)


def run(
    number: int, batch: int, *, rung: int = 0, params: dict[str, Any] | None = None, found: TrialOutcome | None = None
) -> TrialRun:
    return TrialRun(number, number, batch, 2, rung, 0, params or {}, "done" if found else "waiting", found)


@pytest.mark.parametrize("data", EVERY, ids=["images", "large images", "table", "series"])
def test_it_fits_whatever_the_data_are_and_begins_with_what_train_would_make(data: Dataset) -> None:
    search = search_for("small", data, model="mine")
    search.check(SearchData.of(data, search.settings.held_out).dataset)
    assert search.start == fitted(data, "mine")
    assert [student for student, _ in search.starts.values()] == list(search.start.students)
    for name, (student, variant) in search.starts.items():
        [first] = search.production({START: name}).students
        assert first == replace(student, variants=(variant,))
        check_recipe(search.production({START: name}), data)
    assert ("resolution" in search.space) == (data.shape == (3, 30, 30))
    assert search.name(data.digest) != replace(search, start=None).name(data.digest)


def test_many_small_images_get_the_shipped_search_after_what_train_makes() -> None:
    few = bars(60)
    index = np.arange(MANY) % len(few.train_y)
    many = replace(few, train_x=few.train_x[index], train_y=few.train_y[index])
    search = search_for("small", many)
    assert replace(search, start=None) == search_named("small")
    assert search.start == fitted(many)


def test_a_search_in_a_file_is_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        'model = "m"\n[[student]]\nname = "s"\narchitecture = { name = "perceptron" }\nepochs = 1\n'
        "[search.space]\nwidth = { low = 0.5, high = 1.0 }\n"
    )
    assert search_for(tmp_path / "mine.toml", table(60)) == search_named(tmp_path / "mine.toml")


def test_what_it_begins_with_is_the_first_batch_beside_its_trials_and_trained_to_the_end() -> None:
    settings = replace(SETTLING, trials=3, rungs=(0.5, 1.0))
    assert next_move([], settings, None, (), starts=3) == Draw(0, range(3), frozenset())
    first = [run(n, 0, params={START: f"s{n}"}, found=outcome(0.9 - n / 10, 100 * (n + 1))) for n in range(3)]
    first = [replace(r, size=3) for r in first]
    entered = next_move(first, settings, None, (), starts=3)
    assert isinstance(entered, Enter)
    assert [(r.number, r.rung) for r in entered.runs] == [(0, 1), (1, 1), (2, 1)]  # none is halved away
    whole = first + [replace(r, id=r.id + 10, rung=1) for r in first]
    assert next_move(whole, settings, None, (), starts=3) == Draw(1, range(3, 5), frozenset())


def test_it_ends_when_two_batches_brought_nothing_worth_having() -> None:
    begun = [run(0, 0, found=outcome(0.95, 5000)), run(1, 0, found=outcome(0.90, 1000))]
    same = [run(n, n // 2, found=outcome(0.955, 5100)) for n in range(2, 6)]
    assert settled([*begun, *same], SETTLING)
    assert next_move([*begun, *same], SETTLING, None, (), starts=2) == End("settled")
    assert not settled([*begun, *same[:2]], SETTLING)  # one batch so far
    assert not settled([*begun, *same], replace(SETTLING, settle=0))
    smaller = [*begun, *same[:3], run(5, 2, found=outcome(0.94, 2000))]
    assert not settled(smaller, SETTLING)
    # With a budget that nobody meets it goes on: what is missing may yet come.
    none = Budget(artifact_bytes=10)
    assert isinstance(next_move([*begun, *same], SETTLING, none, (), starts=2), Draw)


@pytest.mark.parametrize(
    ("found", "worth"),
    [
        (outcome(0.98, 6000), True),  # more accurate
        (outcome(0.96, 5000), False),  # by luck
        (outcome(0.945, 3000), True),  # much smaller
        (outcome(0.945, 4000), False),
        (outcome(0.95, 5000, macs=500), True),  # quicker to calculate
        (outcome(0.5, 10), False),  # small, and far less accurate
    ],
)
def test_what_is_worth_having(found: TrialOutcome, worth: bool) -> None:
    assert gains(run(1, 1, found=found), [run(0, 0, found=outcome(0.95, 5000))], SETTLING) == worth


def test_what_is_made_for_a_release_is_the_best_and_what_differs_from_it() -> None:
    found = [(0.95, 5000), (0.95, 5100), (0.945, 4900), (0.94, 2000), (0.5, 100), (0.99, 9000)]
    runs = [run(n, 1, found=outcome(a, s)) for n, (a, s) in enumerate(found)]
    assert [r.number for r in distinct(runs, SETTLING)] == [5, 0, 3]


def test_of_the_time_so_much_is_left_as_a_release_takes() -> None:
    assert ends(700.0, 100.0, 150.0) == pytest.approx(100 + 480)  # a fifth
    assert ends(700.0, 100.0, 300.0) == pytest.approx(100 + 300)  # half as much again as 200 s


def test_what_is_seen_without_a_terminal_is_the_front_its_accuracy_and_the_time_left() -> None:
    out, ticks = io.StringIO(), count(0, 10)
    plan = replace(tiny(trials=4, batch=2, rungs=[1.0]), settings=SETTLING)
    console = Console(file=out, width=200)
    with SearchProgress(console, with_trials(plan, 4), "", None, lambda: float(next(ticks))) as shown:
        shown([run(0, 0)])
        shown([run(0, 0, found=outcome(0.9, 2000))])
        shown([run(0, 0, found=outcome(0.9, 2000)), run(1, 0, found=outcome(0.8, 9000))])
        shown([run(n, 0, found=outcome(a, s)) for n, (a, s) in enumerate(((0.9, 2000), (0.8, 9000), (0.95, 4000)))])
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("trial 0: 90.0%, worst class 90.0%, 2,000 bytes; 1 of at most 4 runs done, at most ")
    assert lines[0].endswith(" left")
    assert lines[1] == "  front: 90.0% in 2,000 bytes (trial 0)"
    assert lines[2].startswith("trial 1: 80.0%")
    assert lines[3].startswith("trial 2: 95.0%")  # the front had not changed before
    assert lines[4] == "  front: 90.0% in 2,000 bytes (trial 0), 95.0% in 4,000 bytes (trial 2)"
    assert [length(s) for s in (5, 99, 150, 7200)] == ["5 s", "99 s", "2 min", "2.0 h"]
