"""What a search says when it cannot go on, what it will take, and who may teach."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch

from littoral.errors import BadInput, NoFit
from littoral_cloud.cli import execute
from littoral_cloud.search import SearchControl, compress
from littoral_cloud.search.compress import given_teacher
from littoral_cloud.search.estimate import estimated, runs_on_rungs
from littoral_cloud.search.trial import SearchData
from tests.kit.images import bars
from tests.kit.search import tiny

STRIDES = {"choices": [[2, 2]]}
"""Each alone goes with the student as it is written; three widths do not go with two strides."""


def test_values_that_do_not_go_together_fail_alone_and_are_named() -> None:
    space = {"architecture.widths": {"choices": [[4, 8], [4, 8, 8]]}, "architecture.strides": STRIDES}
    told: list[str] = []
    found = compress(
        None, bars(), recipe=tiny(space=space, trials=2, batch=2, rungs=[1.0]), control=SearchControl(tell=told.append)
    )
    assert sorted(run.state for run in found.runs) == ["done", "failed"]
    [failed] = [run for run in found.runs if run.state == "failed"]
    assert "strides: [2, 2] must hold a 1 or a 2 for each of 3 widths" in failed.problem
    assert any(f"trial {failed.number}: cannot be made: " in line for line in told)
    assert [run.number for run in found.front] == [1 - failed.number]


def test_a_search_of_which_nothing_could_be_trained_says_why() -> None:
    space = {"architecture.widths": {"choices": [[4, 8, 8]]}, "architecture.strides": STRIDES}
    found = compress(None, bars(), recipe=tiny(space=space, trials=1, batch=1, rungs=[1.0]))
    with pytest.raises(NoFit, match=r"no trial was trained to the end; the first that failed: .*strides: \[2, 2\]"):
        found.check()


@pytest.mark.slow
def test_a_torch_network_of_ones_own_teaches() -> None:
    torch.manual_seed(1)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(144, 3)).eval()
    teacher = given_teacher(network, bars())
    assert teacher is not None
    assert teacher.logits(bars().test_x).shape == (48, 3)
    found = compress(network, bars(), recipe=tiny(trials=1, batch=1, rungs=[1.0]))
    [student] = found.students()
    assert teacher.digest in student.manifest.parents
    assert found.name != compress(None, bars(), recipe=tiny(trials=1, batch=1, rungs=[1.0])).name


def test_no_time_is_no_trial_and_another_call_goes_on(tmp_path: Path) -> None:
    late = compress(None, bars(), recipe=tiny(), folder=tmp_path, control=SearchControl(time_budget_s=0.0))
    assert (late.reason, late.runs, late.best) == ("time", (), None)


def test_a_folder_that_cannot_be_written_is_named_before_the_first_trial(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match=r"file.*cannot be written"):
        compress(None, bars(), recipe=tiny(), folder=tmp_path / "file")


@pytest.mark.slow
def test_the_estimate_counts_every_run_and_multiplies_one_step() -> None:
    assert runs_on_rungs(14, 4, 3) == [14, 7, 4]
    assert runs_on_rungs(3, 8, 1) == [3]
    ticks = count()
    recipe = tiny(trials=6, batch=2, rungs=[0.5, 1.0])
    held = SearchData.of(bars(), 0.25)
    said = estimated(recipe, held, clock=lambda: float(next(ticks)))
    assert (said.trials, said.runs, said.teacher_minutes) == (6, 9, 0.0)
    assert said.step_ms == 1000.0  # one tick of this clock
    steps = len(held.dataset.train_y) // 16
    assert said.minutes == pytest.approx((6 * 2 * steps + 3 * 4 * steps + 9 * 1.0) / 60, abs=0.01)  # to package is a tick
    assert said.disk_bytes > 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["compress", "small"], "--data is missing"),
        (["compress", "smal", "--data", "DATA"], "did you mean small"),
        (["compress", "small", "--data", "DATA", "--budget", "artifact=20"], "'artifact=20' is not a limit"),
        (["compress", "small", "--data", "DATA", "--budget", "energy<=1mJ"], "energy is measured on nodes"),
        (["compress", "small", "--data", "DATA", "--time-budget", "soon"], "'soon' is not a length of time"),
        (["compress", "small", "--data", "nowhere"], "nowhere does not exist"),
        (["compress", "nowhere.toml", "--data", "DATA"], "nowhere.toml does not exist"),
    ],
)
def test_what_the_command_cannot_do_it_says(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = bars()
    arrays = {"x_train": data.train_x, "y_train": data.train_y, "x_test": data.test_x, "y_test": data.test_y}
    np.savez(tmp_path / "bars.npz", labels=np.array(data.labels), **arrays)
    given = [str(tmp_path / "bars.npz") if argument == "DATA" else argument for argument in arguments]
    assert execute([*given, "--data-dir", str(tmp_path / "cloud")]) in (2, 4)
    assert said in capsys.readouterr().err
    assert not (tmp_path / "cloud").exists()
