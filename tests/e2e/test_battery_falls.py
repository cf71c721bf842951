"""A whole fleet, and the battery of one of its machines: the cheaper student while it is low, the better one with mains again."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from littoral_cloud.app import Core, open_core
from littoral_cloud.fleet.ledger import until
from littoral_cloud.fleet.nodes import view_nodes
from littoral_cloud.fleet.records import Reported, UpdateState, load
from littoral_cloud.settings import load_settings
from tests.kit.choices import two_students
from tests.kit.machine import Machine
from tests.kit.patience import PATIENCE_S
from tests.kit.whole import Fleet

pytest_plugins = ("tests.kit.whole_fixture",)


async def until_kept(core: Core, node_id: str, digest: str) -> None:
    """The node says that it serves this, and keeps it."""

    async def look() -> bool | None:
        doc = await core.ledger.get("reported", node_id)
        model = load(Reported, doc).models.get("tiny") if doc else None
        return True if model and model.serving == digest and model.state is UpdateState.SUCCEEDED else None

    await until(core.ledger, ("reported",), look, seconds=PATIENCE_S, what=f"{node_id} to serve {digest[:19]}")


async def until_there(core: Core, name: str) -> None:
    """Its session is open."""

    async def look() -> bool | None:
        views = {view.node.name: view for view in await view_nodes(core.ledger, core.clock())}
        return True if name in views and views[name].connected else None

    await until(core.ledger, ("node", "presence"), look, seconds=PATIENCE_S, what=f"the session of {name}")


@pytest.mark.slow
async def test_a_low_battery_gives_a_cheaper_student_and_mains_the_better_one_back(processes: Fleet, tmp_path: Path) -> None:
    machine = Machine(tmp_path / "machine")
    machine.plugged(80)
    settings = ("--machine-root", str(machine.root), "--on-battery-low", "runtime=ncnn")
    await processes.join("camera", *settings)
    async with open_core(load_settings(data_dir=processes.root / "cloud"), clock=time.time) as core:  # noqa: TID251
        best, cheap, release = await two_students(core, tmp_path / "made")
        # Its session may not be open yet: the rollout waits for it.
        await processes.cloud("rollout", "start", release.release_id, "--probation-s", "0.5")
        await processes.cloud("rollout", "watch", f"{release.release_id}-r1")
        [node] = await core.ledger.all("node")
        await until_kept(core, node.id, best.manifest_digest)

        machine.unplugged(15)
        await until_kept(core, node.id, cheap.manifest_digest)
        shown = json.loads(await processes.cloud("node", "show", "camera", "--format", "json"))
        assert shown["budgets"]["tiny"] == "runtime=ncnn"
        assert [model["student"] for model in shown["models"]] == ["cheap"]
        explained = json.loads(await processes.cloud("node", "explain", "camera", "--format", "json"))["tiny"]
        assert [(row["name"], row["chosen"], row["serving"]) for row in explained] == [
            ("best", False, False),
            ("cheap", True, True),
        ]
        assert explained[0]["why_not"] == "runtime: onnxruntime is not among ncnn"
        assert explained[0]["conditions"] == ["battery_low"]
        assert "tiny-1; budget: runtime=ncnn (battery_low)" in await processes.cloud("node", "explain", "camera")

        machine.plugged(16)
        await until_kept(core, node.id, best.manifest_digest)

        # Its owner edits the settings: the node comes back with another budget.
        child, _ = processes.nodes["camera"]
        await child.end()
        await processes.run("camera", *settings, "--budget", f"artifact<={cheap.artifact_bytes}B")
        await until_kept(core, node.id, cheap.manifest_digest)
        lines = await core.ledger.audit()
    told = [(line.action, line.details.get("to"), line.details.get("conditions")) for line in lines if "choice" in line.action]
    assert told == [
        ("choice.changed", "cheap", ["battery_low"]),
        ("choice.changed", "best", []),
        ("choice.changed", "cheap", []),
    ]
    assert [line.action for line in lines].count("rollout.wave-started") == 1
    await processes.cloud("audit", "verify")

    # The next machine of the class, which is this one once more, measures nothing.
    await processes.join("door")
    async with open_core(load_settings(data_dir=processes.root / "cloud"), clock=time.time) as core:  # noqa: TID251
        await until_there(core, "door")
    await processes.cloud("rollout", "start", release.release_id, "--probation-s", "0.5")
    watched = await processes.cloud("rollout", "watch", f"{release.release_id}-r2", "--format", "json")
    assert json.loads(watched.splitlines()[-1])["state"] == "SUCCEEDED"
    explained = json.loads(await processes.cloud("node", "explain", "door", "--format", "json"))["tiny"]
    assert [(row["name"], row["measured_by"], row["chosen"]) for row in explained] == [
        ("best", "its class", True),
        ("cheap", "its class", False),
    ]
    assert "benchmark-done" in (processes.root / "camera.log").read_text()
    assert "trial-" not in (processes.root / "door.log").read_text()
