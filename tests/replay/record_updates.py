"""Records tests/replay/updates/*.jsonl from real agents: .venv/bin/pytest tests/replay/record_updates.py

Needed again when the table of updates gets a new event or state. The recorded trails of before stay where they still hold.
"""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from littoral_cloud.fleet.records import Probation
from littoral_node.identity.folder import NodeFolder
from tests.kit.agent import AgentProcess, Maker, good_weights, reported, want
from tests.kit.fleet import Fleet
from tests.kit.patience import PATIENCE_S

pytest_plugins = ("tests.kit.redis", "tests.kit.agent_fixture")

TRAILS = Path(__file__).parent / "updates"


async def recorded(folder: NodeFolder, trail: Path, *flags: str, crash_at: str = "") -> AgentProcess:
    environment = {"TRAIL_TO": str(trail), "CRASH_AT": crash_at}
    agent = await AgentProcess.start(folder.root, *flags, module="tests.kit.recording_agent", environment=environment)
    return await agent.ready()


@pytest.fixture
def trail(request: pytest.FixtureRequest) -> Path:
    TRAILS.mkdir(exist_ok=True)
    place = TRAILS / f"{request.node.name.removeprefix('test_').replace('_', '-')}.jsonl"
    place.unlink(missing_ok=True)
    return place


async def test_succeeded(fleet: Fleet, maker: Maker, folder: NodeFolder, trail: Path) -> None:
    agent = await recorded(folder, trail)
    await want(fleet, maker.artifact("first"), 1)
    await reported(fleet, 1, "SUCCEEDED")
    await agent.stop()


async def test_rolled_back(fleet: Fleet, maker: Maker, folder: NodeFolder, trail: Path) -> None:
    maker.install(folder, maker.artifact("first"))
    agent = await recorded(folder, trail)
    second = maker.artifact("second", weights=good_weights() * 2)
    await want(fleet, second, 2, Probation(duration_s=600.0))
    await reported(fleet, 2, "PROBATION", serving=second)
    children = Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text().split()
    (child,) = (pid for pid in children if b"littoral_node.isolated.main" in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(int(child), signal.SIGKILL)
    await reported(fleet, 2, "ROLLED_BACK")
    await agent.stop()


async def test_download_resumed(fleet: Fleet, maker: Maker, folder: NodeFolder, trail: Path) -> None:
    maker.install(folder, maker.artifact("first"))
    agent = await recorded(folder, trail, "--max-download-rate", "1MB/s")
    await want(fleet, maker.artifact("big", padding=3_000_000), 2)
    part: Path | None = None
    async with asyncio.timeout(PATIENCE_S):
        while part is None or part.stat().st_size < 600_000:
            await asyncio.sleep(0.02)  # no event names how far it is: the file does
            part = next(folder.blobs.glob("*.part"), None)
    await agent.kill()
    agent = await recorded(folder, trail)
    await reported(fleet, 2, "SUCCEEDED")
    await agent.stop()


async def test_killed_midway(fleet: Fleet, maker: Maker, folder: NodeFolder, trail: Path) -> None:
    maker.install(folder, maker.artifact("first"))
    await want(fleet, maker.artifact("second", weights=good_weights() * 2), 2)
    for moment in ("before:verify", "after:load", "before:watch"):
        agent = await recorded(folder, trail, crash_at=moment)
        await agent.ended()
    agent = await recorded(folder, trail)
    await reported(fleet, 2, "SUCCEEDED", "ROLLED_BACK", "FAILED")
    await agent.stop()
