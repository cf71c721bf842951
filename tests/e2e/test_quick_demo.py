"""littoral-cloud demo --quick on a user's own images, as a user types it: what it ends with, and what it leaves behind."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest

from littoral.process.command import script
from tests.e2e.test_three_commands import mentioning
from tests.kit.shapes import shape_arrays


@pytest.mark.slow
@pytest.mark.timeout(900)  # some forty seconds of two cores, and whoever else is at them
async def test_it_ends_well_says_what_it_did_not_check_and_leaves_nothing_running(tmp_path: Path) -> None:
    x, y = shape_arrays(50)
    np.savez(tmp_path / "My Shapes.npz", x=x, y=y, labels=np.array(["circle", "cross", "square"]))
    out = tmp_path / "out"
    process = await asyncio.create_subprocess_exec(
        *(script("littoral-cloud"), "demo", "--data", str(tmp_path / "My Shapes.npz")),
        *("--quick", "--out", str(out), "--format", "json"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, shown = await process.communicate()
    assert process.returncode == 0, shown.decode()
    report = json.loads((out / "report.json").read_text())
    assert json.loads(said)["students"] == report["students"]
    assert report["checks"] == {"passed": True}
    assert (report["drift"], report["federation"]) == (None, None)
    assert set(report["skipped"]) == {
        *("teacher", "best-student", "small-student", "agent-memory"),
        *("drift-detected", "drift-recovered", "clean-accuracy", "rounds"),
    }
    assert "not checked: teacher, best-student, small-student, agent-memory: its figure holds for MNIST alone" in " ".join(
        shown.decode().split()
    )
    assert [(row["kind"], row["state"]) for row in report["rollouts"]] == [("initial", "SUCCEEDED"), ("bad", "ROLLED_BACK")]
    gateway, meter = report["nodes"]
    assert (gateway["name"], gateway["budget"], meter["name"]) == ("gateway", "", "meter")
    assert meter["budget"] == f"artifact<={min(row['bytes'] for row in report['students'])}B"
    assert all(node["fits"] and node["requests"] > 0 and node["failed_requests"] == 0 for node in report["nodes"])
    assert {row["architecture"] for row in report["students"]} == {"compact_cnn", "mobilenet_v1"}
    assert mentioning(tmp_path) == []
