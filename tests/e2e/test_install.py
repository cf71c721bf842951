"""A wheel, installed as on a device: an environment of its own with nothing but what [edge] needs; run, upgraded, taken off."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from littoral import __version__
from littoral.process.command import Command
from tests.kit.cloud import Cloud, running_cloud

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def cloud(tmp_path: Path) -> AsyncIterator[Cloud]:
    async with running_cloud(tmp_path / "cloud") as running:
        yield running


async def said(*words: str | Path, code: int = 0, **environment: str) -> str:
    """stdout of a command that must end with this code, in an environment without this repository."""
    process = await asyncio.create_subprocess_exec(
        *map(str, words),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd="/",
        env={**{name: value for name, value in os.environ.items() if name != "PYTHONPATH"}, "PIP_NO_COMPILE": "1", **environment},
    )
    out, err = await process.communicate()
    assert process.returncode == code, (words, out.decode(), err.decode())
    return (out or err).decode()


@pytest.mark.slow
@pytest.mark.timeout(600)  # two environments are filled: 25 s alone, minutes beside other work
async def test_a_wheel_becomes_a_node_is_upgraded_and_taken_off_again(cloud: Cloud, tmp_path: Path) -> None:
    wheels, root = tmp_path / "wheels", tmp_path / "root"
    await said(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", wheels, ROOT)
    wheel = next(wheels.glob("littoral-*.whl"))
    # Out of the wheel itself, isolated, without any installed package: as with a system's Python that refuses pip.
    installer = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); from littoral_node.installing.__main__ import main; sys.exit(main())"
    )
    line = (await cloud.join_line()).render()
    words: tuple[Any, ...] = (sys.executable, "-I", "-S", "-c", installer, wheel, "install", "--from", wheel, "--root", root)
    constraints = ("--constraint", ROOT / "constraints.txt")
    dry = json.loads(await said(*words, "--extras", "", "--dry-run", "--format", "json", LITTORAL_NODE_JOIN=line))
    assert dry["dry_run"]
    assert not root.exists()
    done = json.loads(
        await said(*words, *constraints, "--extras", "", "--name", "camera", "--format", "json", LITTORAL_NODE_JOIN=line)
    )
    assert [step["step"] for step in done["steps"]] == [step["step"] for step in dry["steps"]]
    prefix, data, node = root / "opt/littoral", root / "var/lib/littoral", root / "usr/local/bin/littoral-node"
    assert os.readlink(prefix / "current") == __version__
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    unit = (root / "etc/systemd/system/littoral-node.service").read_text()
    assert f'ExecStart="{prefix}/current/bin/littoral-node" run --data "{data}"' in unit

    python = prefix / "current/bin/python"
    found = await said(python, "-c", "import importlib.metadata as m; print(*sorted(d.name.lower() for d in m.distributions()))")
    assert {"littoral", "onnxruntime", "grpcio"} <= set(found.split())
    assert not {"torch", "flwr", "pillow", "pydantic", "pip"} & set(found.split())
    assert "install" in await said(node, "--help")
    findings = json.loads(await said(node, "doctor", "--data", data, "--format", "json"))["findings"]
    assert {f["check"]: f["verdict"] for f in findings if f["check"] in ("enrolled", "cloud")} == {
        "enrolled": "ok",
        "cloud": "ok",
    }
    agent = await Command.start(
        "camera", [str(node), "run", "--data", str(data), "--http", "127.0.0.1:0", "--format", "json"], tmp_path / "agent.log"
    )
    try:
        assert json.loads(await agent.ready_line())["node"] == "camera"
    finally:
        await agent.end()

    upgraded = json.loads(await said(node, "upgrade", "--from", wheel, *constraints, "--format", "json"))
    assert upgraded["steps"][4] == {"step": upgraded["steps"][4]["step"], "detail": "no model is served yet"}
    assert os.readlink(prefix / "current") == f"{__version__}-2"
    assert (prefix / __version__).is_dir()  # the way back
    assert (await said(node, "--version")).split() == ["littoral-node", __version__]

    refused = json.loads(await said(node, "uninstall", "--format", "json", code=2))
    assert "--purge" in refused["error"]["hint"]
    assert "--keep-data" in refused["error"]["hint"]
    await said(node, "uninstall", "--keep-data")
    assert (prefix.exists(), node.is_symlink(), data.is_dir()) == (False, False, True)
