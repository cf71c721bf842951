"""A table's finished rows and trainings outlive the run that made them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.factory.kept import Kept, Row, code_digest
from littoral_cloud.training.schedule import Step


class Ticks:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def steps(kept: Kept, ticks: Ticks, name: str, first: int, last: int, *, of: int) -> None:
    """A training that takes a second a step."""
    for step in range(first, last + 1):
        ticks.now += 1.0
        kept.watch(Step(name, step, of, 0.5))


def test_a_finished_row_is_not_made_again_until_its_settings_change(tmp_path: Path) -> None:
    made: list[int] = []

    def make() -> Row:
        made.append(1)
        return {"errors": len(made)}

    for settings, errors in (({"lr": 1}, 1), ({"lr": 1}, 1), ({"lr": 2}, 2)):
        assert Kept("t", root=tmp_path).row("a", settings, ["bench.report"], make) == {"errors": errors}


def test_a_row_counts_with_the_seconds_it_took_when_it_was_made(tmp_path: Path) -> None:
    ticks = Ticks()
    kept = Kept("t", root=tmp_path, clock=ticks)

    def make() -> Row:
        steps(kept, ticks, "net", 1, 5, of=5)
        ticks.now += 10.0
        return {}

    kept.row("a", {}, [], make, trainings=["net"])
    again = Kept("t", root=tmp_path, clock=ticks)
    again.row("a", {}, [], make, trainings=["net"])
    assert kept.seconds == again.seconds == 15.0


def test_a_training_that_was_killed_counts_with_both_its_runs(tmp_path: Path) -> None:
    ticks = Ticks()
    steps(Kept("t", root=tmp_path, clock=ticks), ticks, "net", 1, 100, of=200)
    later = Kept("t", root=tmp_path, clock=ticks)

    def make() -> Row:
        steps(later, ticks, "net", 91, 200, of=200)
        return {}

    later.row("a", {}, [], make, trainings=["net"])
    assert 200 <= later.seconds <= 210  # ten steps twice, and at most what was not yet written


def test_a_training_that_begins_anew_counts_anew(tmp_path: Path) -> None:
    ticks = Ticks()
    kept = Kept("t", root=tmp_path, clock=ticks)
    steps(kept, ticks, "net", 1, 50, of=50)
    steps(kept, ticks, "net", 1, 20, of=20)
    assert kept.watch.of("net") == 19.0


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path / "bench_sample_code.py"
    sys.modules.pop("bench_sample_code", None)


def test_comments_and_docstrings_are_not_code(module: Path) -> None:
    digests = []
    for text in ("x = 1\n", '"""What it is."""\n\nx = 1  # one\n', "x = 2\n"):
        module.write_text(text)
        digests.append(code_digest("bench_sample_code"))
    assert digests[0] == digests[1] != digests[2]
