"""From a folder of images to a served student by the commands in the README of a new project, as they stand."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from littoral.errors import FleetError
from littoral.process.command import Command, run_to_end, script
from littoral_cloud.app import open_core
from littoral_cloud.releases.catalogue import create_release, publish
from littoral_cloud.settings import load_settings
from tests.kit.patience import PATIENCE_S
from tests.kit.shapes import COLOURS, colour_folder
from tests.kit.unrunnable import unrunnable

CLOUD = script("littoral-cloud")


def mentioning(folder: Path) -> list[int]:
    """Processes whose command line names something in this folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                said = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            found += [int(entry.name)] if os.fsencode(folder) in said else []
    return found


@asynccontextmanager
async def served(folder: Path, command: list[str]) -> AsyncIterator[dict[str, Any]]:
    """What `up` says when it is ready. Ended as Ctrl-C at a terminal does it; nothing is left running then."""
    child = await Command.start("up", [*command, "--http", "127.0.0.1:0", "--format", "json"], folder / "up.log")
    try:
        yield json.loads(await child.ready_line(within_s=600))
    finally:
        if child.running:
            os.kill(child.pid, signal.SIGINT)
        async with asyncio.timeout(PATIENCE_S):
            assert await child.ended() == 0
        await child.end()
        assert mentioning(folder) == []


async def told(log: Path, words: str) -> None:
    """Once they stand in the log."""
    following = await asyncio.create_subprocess_exec("tail", "-n", "+1", "-f", str(log), stdout=asyncio.subprocess.PIPE)
    assert following.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE_S):
            async for line in following.stdout:
                if words in line.decode():
                    return
    finally:
        following.kill()
        await following.wait()


async def answer(url: str, model: str, image: Path) -> int:
    pixels = np.asarray(Image.open(image)).transpose(2, 0, 1)
    tensor = {"name": "input", "shape": [1, *pixels.shape], "datatype": "UINT8", "data": pixels.reshape(-1).tolist()}
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as client:
        reply = await client.post(f"{url}/v2/models/{model}/infer", json={"inputs": [tensor]})
    reply.raise_for_status()
    return int(next(o for o in reply.json()["outputs"] if o["name"] == "label")["data"][0])


async def release_of_no_network(data_dir: Path) -> None:
    """broken-1, which no node can run."""
    async with open_core(load_settings(data_dir=data_dir)) as core:
        made = await publish(core, unrunnable("broken"), core.clock())
        await create_release(core.ledger, "broken", [made.manifest_digest], "manual", "", core.clock())


def in_haste(recipe: Path) -> None:
    """Few epochs, narrow networks, and the one student of one format: what a user would change to see something soon."""
    quick = re.sub(r"widths = \[.*?\]", "widths = [8, 16]", re.sub(r"epochs = \d+", "epochs = 30", recipe.read_text()))
    head, *students = re.sub(r"variants = \[.*?\]", 'variants = ["onnx-int8"]', quick).split("[[student]]")
    recipe.write_text("[[student]]".join([head, next(student for student in students if "compact_cnn" in student)]))


async def commands_of(project: Path, photos: Path, log: Path) -> list[list[str]]:
    """What the README of a new project says: train, up, curl."""
    told = await run_to_end("init", [CLOUD, "init", str(project), "--data", str(photos)], log)
    lines = (project / "README.md").read_text().splitlines()
    commands = [shlex.split(line) for line in lines if line.startswith("    ")]
    assert len(lines) <= 10
    assert [command[:2] for command in commands] == [["littoral-cloud", "train"], ["littoral-cloud", "up"], ["curl", "-s"]]
    assert told.splitlines()[-1] == f"next: cd {shlex.quote(str(project))} && {lines[4].strip()}"
    in_project = ["env", "-C", str(project)]
    return [[*in_project, CLOUD, *command[1:]] if command[0] == "littoral-cloud" else command for command in commands]


async def is_served(said: dict[str, Any], curl: list[str], photos: Path) -> None:
    """What curl asks for, what `up` says to paste, and the images are answered."""
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as client:
        url = curl[-1].replace("http://127.0.0.1:8080", said["url"])
        assert (await client.get(url)).json()["name"] == "my-photos"
    pasted = await asyncio.create_subprocess_exec("sh", "-c", said["ask"]["my-photos"].partition("\n\npython")[0], stdout=-1)
    out, _ = await pasted.communicate()
    assert [output["name"] for output in json.loads(out)["outputs"]] == ["logits", "label"]
    asked = [(label, path) for label, kind in enumerate(COLOURS) for path in sorted((photos / kind).iterdir())[:6]]
    right = [await answer(said["url"], "my-photos", path) == label for label, path in asked]
    assert sum(right) >= 12  # of 18


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_the_commands_in_a_new_projects_readme_train_and_serve_a_folder_of_images(tmp_path: Path) -> None:
    photos, project = colour_folder(tmp_path / "My Photos", 8), tmp_path / "new project"
    train, up, curl = await commands_of(project, photos, tmp_path / "init.log")
    in_haste(project / "recipe.toml")
    await run_to_end("train", train, tmp_path / "train.log")
    async with served(tmp_path, up) as said:
        assert list(said["models"]) == ["my-photos"]
        assert Path(said["folder"]).name == "node"
        await is_served(said, curl, photos)
        [node] = [pid for pid in mentioning(tmp_path) if b"\0run\0" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        os.kill(node, signal.SIGKILL)
        await told(tmp_path / "up.log", "node: runs again")
        await answer(said["url"], "my-photos", photos / COLOURS[1] / "000.png")  # where it answered before
    await release_of_no_network(project / "cloud")
    async with served(tmp_path, up) as again:  # the same node, with what it had
        await told(tmp_path / "up.log", "release broken-1: FAILED")  # said, and no reason to serve nothing
        assert (again["node_id"], again["models"]) == (said["node_id"], said["models"])
        await answer(again["url"], "my-photos", photos / COLOURS[1] / "000.png")
    nothing = [*up, "--http", "127.0.0.1:0", "--budget", "artifact<=10B"]  # another budget is another choice
    with pytest.raises(FleetError, match="inside artifact<=10B"):
        await run_to_end("up", nothing, tmp_path / "up.log")
