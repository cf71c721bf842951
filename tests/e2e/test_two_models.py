"""Two models rolled out at once to one node, and both to one that joins later; every part its own process."""

from __future__ import annotations

import asyncio
import json
import math
import time
from pathlib import Path

import pytest

from littoral_cloud.app import open_core
from littoral_cloud.settings import load_settings
from tests.kit.choices import one_student
from tests.kit.models import SHAPE
from tests.kit.patience import PATIENCE_S
from tests.kit.whole import Fleet, ask

pytest_plugins = ("tests.kit.whole_fixture",)

IMAGE = {"inputs": [{"name": "x", "shape": [1, *SHAPE], "datatype": "UINT8", "data": [0] * math.prod(SHAPE)}]}
MODELS = ("digits", "figures")


@pytest.mark.slow
async def test_two_rollouts_at_once_bring_two_models_to_one_node_and_to_one_that_joins_later(
    processes: Fleet, tmp_path: Path
) -> None:
    await processes.join("one")
    async with open_core(load_settings(data_dir=processes.root / "cloud"), clock=time.time) as core:  # noqa: TID251
        releases = [(await one_student(core, tmp_path / "made", model)).release_id for model in MODELS]
    started = [json.loads(await processes.cloud("rollout", "start", release, "--format", "json")) for release in releases]
    watched = await asyncio.gather(
        *(processes.cloud("rollout", "watch", each["rollout"], "--format", "json") for each in started)
    )
    assert [json.loads(lines.splitlines()[-1])["state"] for lines in watched] == ["SUCCEEDED", "SUCCEEDED"]
    _, url = processes.nodes["one"]
    for model in MODELS:
        answer = await ask(f"{url}/v2/models/{model}/infer", IMAGE)
        assert (answer.status_code, answer.json()["model_name"]) == (200, model)
    await processes.join("two")
    _, url = processes.nodes["two"]
    for model in MODELS:
        await until_it_answers(f"{url}/v2/models/{model}/infer", model)
    listed = json.loads(await processes.cloud("node", "list", "--format", "json"))
    assert [model["model"] for model in listed[0]["models"]] == list(MODELS)


async def until_it_answers(url: str, model: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while (answer := await ask(url, IMAGE)).status_code != 200:  # noqa: ASYNC110 - it announces nothing
            await asyncio.sleep(0.1)
    assert answer.json()["model_name"] == model
