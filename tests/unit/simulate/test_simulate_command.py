"""littoral-cloud simulate, as an operator calls it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from littoral_cloud.cli import INTERRUPTED, execute
from littoral_cloud.simulate.outcome import FleetOutcome
from littoral_cloud.simulate.world import World

SCENARIO = """
about = "ten cameras"
[[group]]
name = "camera"
nodes = 10
requests_per_s = 2.0
[[artifact]]
name = "v1"
bytes = 1000
accuracy = 0.9
serving = true
[[artifact]]
name = "v2"
bytes = 2000
accuracy = 0.9
failure_rate = 0.2
bad = true
[[rollout]]
at_s = 60
artifacts = ["v2"]
"""


@pytest.fixture
def scenario(tmp_path: Path) -> str:
    path = tmp_path / "s.toml"
    path.write_text(SCENARIO)
    return str(path)


def test_one_simulation_is_printed_with_waves_and_exposed_nodes(scenario: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["simulate", scenario]) == 0
    out = capsys.readouterr().out
    assert "ROLLED_BACK after" in out
    assert "exposed:  1 nodes (10.00%)" in out
    assert "WAVE  NODES  STARTED  LASTED" in out
    assert "2.0 kB of artifacts" not in out, "three measured it, one of them was the canary"
    assert "6.0 kB of artifacts" in out


def test_programs_get_every_value(scenario: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["simulate", scenario, "--seed", "3", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["seed"], found["nodes"]) == (3, 10)
    (rollout,) = found["rollouts"]
    assert (rollout["state"], rollout["bad"], rollout["missed"], rollout["most_s"]) == ("ROLLED_BACK", True, False, None)


def test_draws_are_printed_as_quantiles_and_rates(scenario: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["simulate", scenario, "--draws", "3"]) == 0
    out = capsys.readouterr().out
    assert "stopped:  3 of 3 draws; 43.9% to 100.0% (95% interval)" in out
    assert "3 draws of 10 nodes, seeds 1 to 3" in out


def test_ctrl_c_prints_the_draws_that_are_finished(
    scenario: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, runs = World.run, []

    def run(world: World) -> FleetOutcome:
        runs.append(world)
        if len(runs) == 3:
            raise KeyboardInterrupt
        return real(world)

    monkeypatch.setattr(World, "run", run)
    assert execute(["simulate", scenario, "--draws", "100", "--format", "json"]) == INTERRUPTED
    found = json.loads(capsys.readouterr().out)
    assert (found["draws"], found["seeds"]) == (2, [1, 2])


def test_a_wrong_scenario_is_one_line_with_field_value_and_way_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(SCENARIO.replace("failure_rate = 0.2", "failure_rate = 2.0"))
    assert execute(["simulate", str(path)]) == 2
    assert f"error: {path}: scenario.artifact[1].failure_rate: 2 must lie between 0 and 1" in capsys.readouterr().err
    path.write_text(SCENARIO.replace("requests_per_s", "request_per_s"))
    assert execute(["simulate", str(path)]) == 2
    err = capsys.readouterr().err
    assert "scenario.group[0].request_per_s: is not known" in err
    assert "did you mean requests_per_s?" in err


def test_a_policy_that_a_rollout_would_refuse_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "large.toml"
    path.write_text(SCENARIO + '[rollout.policy]\nwave_sizes = ["100%"]\n')
    assert execute(["simulate", str(path)]) == 2
    err = capsys.readouterr().err
    assert "rollout at 60 s: waves: the first has 10 of 10 nodes" in err
    assert "large_first_wave = true" in err
    path.write_text(SCENARIO + 'large_first_wave = true\n[rollout.policy]\nwave_sizes = ["100%"]\n')
    assert execute(["simulate", str(path)]) == 0


def test_a_short_simulation_counts_its_nodes_and_its_seconds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "short.toml"
    path.write_text("hours = 0.01\n" + SCENARIO)
    assert execute(["simulate", str(path)]) == 0
    out = capsys.readouterr().out
    assert "no rollout was started" in out
    assert "10 nodes for 36 s, seed 1" in out
