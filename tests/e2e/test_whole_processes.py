"""A fleet as an operator runs it: every part its own process, started by its own command; some are killed with SIGKILL."""

from __future__ import annotations

import json
import math
import os
import signal
import time
from pathlib import Path

from littoral_cloud.app import open_core
from littoral_cloud.fleet.ledger import until
from littoral_cloud.fleet.records import load
from littoral_cloud.rollouts.state import KIND, Rollout, RolloutState
from littoral_cloud.settings import load_settings
from tests.kit.choices import one_student
from tests.kit.models import CLASSES, SHAPE
from tests.kit.patience import PATIENCE_S
from tests.kit.whole import Fleet, ask

pytest_plugins = ("tests.kit.whole_fixture",)


async def test_a_coordinator_killed_in_a_rollout_goes_on_with_it_and_without_one_nodes_serve_what_they_have(
    processes: Fleet, tmp_path: Path
) -> None:
    await processes.join("one")
    await processes.join("two")
    async with open_core(load_settings(data_dir=processes.root / "cloud"), clock=time.time) as core:  # noqa: TID251
        release = await one_student(core, tmp_path / "made", "digits")
        words = ("rollout", "start", release.release_id, "--probation-s", "2", "--format", "json")
        started = json.loads(await processes.cloud(*words))

        async def in_its_first_wave() -> bool | None:
            doc = await core.ledger.get(KIND, started["rollout"])
            return True if doc is not None and load(Rollout, doc).state is RolloutState.WAVE else None

        await until(core.ledger, (KIND,), in_its_first_wave, seconds=PATIENCE_S, what="the canary's wave")
    await processes.kill_coordinator()
    for child, url in processes.nodes.values():  # alone, and alive
        assert child.running
        assert (await ask(f"{url}/v2/health/live")).status_code == 200
    await processes.start_coordinator()
    watched = await processes.cloud("rollout", "watch", started["rollout"], "--format", "json")
    ended = json.loads(watched.splitlines()[-1])
    assert ended["state"] == "SUCCEEDED"
    for _, url in processes.nodes.values():
        assert (await ask(f"{url}/v2/models/digits")).json()["name"] == "digits"
    listed = json.loads(await processes.cloud("node", "list", "--format", "json"))
    assert sorted(node["name"] for node in listed) == ["one", "two"]
    await processes.cloud("audit", "verify")  # fails where the chain is broken

    # Without a cloud a node serves what it has, also after it was killed itself.
    await processes.kill_coordinator()
    child, _ = processes.nodes["one"]
    os.kill(child.pid, signal.SIGKILL)
    await child.end()
    await processes.run("one")
    image = {"name": "x", "shape": [1, *SHAPE], "datatype": "UINT8", "data": [0] * math.prod(SHAPE)}
    answer = await ask(f"{processes.nodes['one'][1]}/v2/models/digits/infer", {"inputs": [image]})
    assert answer.status_code == 200
    assert len(answer.json()["outputs"][0]["data"]) == CLASSES
