"""kill -9 of a real agent at every boundary: the old model serves meanwhile, and the update resumes where it was."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from littoral.digest import hex_of
from littoral_cloud.fleet.records import Probation, Reported, load
from littoral_node.identity.folder import NodeFolder
from littoral_node.update.steps import STEPS
from tests.kit.agent import MODEL, NODE, AgentProcess, Maker, good_weights, reported, want
from tests.kit.fleet import Fleet
from tests.kit.patience import PATIENCE_S

pytest_plugins = ("tests.kit.redis", "tests.kit.agent_fixture")

SIGKILLED = -signal.SIGKILL
QUICK = ("download", "swap", "adopt")


def serving_first(maker: Maker, folder: NodeFolder) -> str:
    """A folder in which a first model is active; its digest."""
    first = maker.artifact("first")
    maker.install(folder, first)
    return first


@pytest.mark.parametrize("name", [each if each in QUICK else pytest.param(each, marks=pytest.mark.slow) for each in STEPS])
async def test_an_agent_killed_before_and_after_a_step_finishes_the_update(
    fleet: Fleet, maker: Maker, folder: NodeFolder, name: str
) -> None:
    first = serving_first(maker, folder)
    second = maker.artifact("second", weights=good_weights() * 2)
    await want(fleet, second, 2)
    for moment in ("before", "after"):
        agent = await (await AgentProcess.start(folder.root, crash_at=f"{moment}:{name}")).ready()
        assert await agent.ended() == SIGKILLED
        if (moment, name) != ("after", "adopt"):
            await agent.until("serving", manifest=first)  # the old model, from the first moment
    agent = await (await AgentProcess.start(folder.root)).ready()
    done = await reported(fleet, 2, "SUCCEEDED", "FAILED", "ROLLED_BACK")
    assert (done.state, done.serving, done.previous) == ("SUCCEEDED", second, first)
    assert await agent.accuracy() == 1.0
    assert await agent.stop() == 0


async def test_an_agent_killed_while_it_downloads_goes_on_at_the_byte(fleet: Fleet, maker: Maker, folder: NodeFolder) -> None:
    first = serving_first(maker, folder)
    big = maker.artifact("big", padding=3_000_000)
    agent = await (await AgentProcess.start(folder.root, "--max-download-rate", "1MB/s")).ready()
    await want(fleet, big, 2)
    part: Path | None = None
    async with asyncio.timeout(PATIENCE_S):
        while part is None or part.stat().st_size < 600_000:
            await asyncio.sleep(0.02)  # no event says how far it is: the file does
            part = next(folder.blobs.glob("*.part"), None)
    await agent.kill()
    held = part.stat().st_size
    assert 600_000 <= held < 3_000_000
    agent = await (await AgentProcess.start(folder.root)).ready()
    assert await agent.accuracy() == 1.0
    done = await reported(fleet, 2, "SUCCEEDED", "FAILED")
    assert (done.state, done.serving, done.previous) == ("SUCCEEDED", big, first)
    await agent.stop()


@pytest.mark.slow
async def test_a_model_that_crashes_the_agent_in_probation_is_given_up_after_three_times(
    fleet: Fleet, maker: Maker, folder: NodeFolder
) -> None:
    first = serving_first(maker, folder)
    second = maker.artifact("second", weights=good_weights() * 2)
    await want(fleet, second, 2, Probation(duration_s=600))
    for _ in range(3):
        agent = await (await AgentProcess.start(folder.root)).ready()
        await reported(fleet, 2, "PROBATION", serving=second)
        await agent.until("update", state="PROBATION")
        await agent.kill()
    agent = await (await AgentProcess.start(folder.root)).ready()
    done = await reported(fleet, 2, "ROLLED_BACK", "FAILED", "SUCCEEDED")
    assert (done.state, done.reason, done.serving) == ("ROLLED_BACK", "crash-loop", first)
    assert await agent.accuracy() == 1.0
    await agent.stop()


async def test_a_damaged_active_model_gives_way_to_the_kept_one_and_is_fetched_again(
    fleet: Fleet, maker: Maker, folder: NodeFolder
) -> None:
    first = serving_first(maker, folder)
    second = maker.artifact("second", weights=good_weights() * 2)
    agent = await (await AgentProcess.start(folder.root)).ready()
    await want(fleet, second, 2)
    await reported(fleet, 2, "SUCCEEDED")
    await agent.stop()
    file = folder.artifacts / hex_of(second) / "model.onnx"
    data = file.read_bytes()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    agent = await (await AgentProcess.start(folder.root)).ready()
    await agent.until("artifact-damaged", manifest=second)
    await agent.until("serving", manifest=first)
    await agent.until("update", state="SUCCEEDED", manifest=second)  # the cloud still wants it
    done = await reported(fleet, 2, "SUCCEEDED", serving=second)
    assert done.previous == first
    await agent.stop()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    place = tmp_path / "small"
    place.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], check=False).returncode:
        pytest.skip("only root may mount a small disk")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


async def test_a_disk_that_fills_up_during_a_download_fails_the_update_and_nothing_else(
    fleet: Fleet, maker: Maker, small_disk: Path
) -> None:
    folder = await maker.enrol(small_disk / "node")
    first = serving_first(maker, folder)
    agent = await (await AgentProcess.start(folder.root, "--keep-free", "0", "--max-download-rate", "400KB/s")).ready()
    await want(fleet, maker.artifact("big", padding=800_000), 2)
    async with asyncio.timeout(PATIENCE_S):
        while not any(part.stat().st_size for part in folder.blobs.glob("*.part")):  # noqa: ASYNC110
            await asyncio.sleep(0.02)  # no event says how far it is: the file does
    (small_disk / "somebody-else").write_bytes(b"x" * 500_000)
    done = await reported(fleet, 2, "FAILED", "SUCCEEDED", "ROLLED_BACK")
    assert (done.state, done.reason, done.serving) == ("FAILED", "no-space", first)
    assert await agent.accuracy() == 1.0
    assert list(folder.blobs.glob("*.part")) == []
    await want(fleet, maker.artifact("bigger", padding=5_000_000), 3)  # this one is not even begun
    done = await reported(fleet, 3, "FAILED", "SUCCEEDED", "ROLLED_BACK")
    assert (done.reason, done.serving) == ("no-space", first)
    assert await agent.accuracy() == 1.0
    await agent.stop()


async def test_a_node_that_starts_on_a_full_disk_serves_what_it_has(fleet: Fleet, maker: Maker, small_disk: Path) -> None:
    folder = await maker.enrol(small_disk / "node")
    first = serving_first(maker, folder)
    filler = small_disk / "somebody-else"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    agent = await (await AgentProcess.start(folder.root)).ready()
    await agent.until("place-not-written")
    await agent.until("serving", manifest=first)
    assert await agent.accuracy() == 1.0
    await agent.stop()


async def heard(fleet: Fleet, serving: str, *, later_than: int = 0) -> Reported:
    """What the cloud knows of the node, once that is newer and names this model as served."""
    async with asyncio.timeout(PATIENCE_S), fleet.ledger.watch("reported") as announcements:
        while True:
            if (doc := await fleet.ledger.get("reported", NODE)) is not None:
                found = load(Reported, doc)
                model = found.models.get(MODEL)
                if found.generation > later_than and model is not None and model.serving == serving:
                    return found
            await anext(announcements)


@pytest.mark.parametrize("damage", [b"{garb", b"[]", b'{"reported_generation": "many"}', None])
async def test_a_node_whose_count_of_reports_was_lost_is_heard_all_the_same(
    fleet: Fleet, maker: Maker, folder: NodeFolder, damage: bytes | None
) -> None:
    first = serving_first(maker, folder)
    agent = await (await AgentProcess.start(folder.root)).ready()
    before = await heard(fleet, first)
    await agent.stop()
    place = folder.root / "state.json"
    place.unlink() if damage is None else place.write_bytes(damage)
    agent = await (await AgentProcess.start(folder.root)).ready()
    await heard(fleet, first, later_than=before.generation)
    assert (folder.root / "state.damaged").exists() == (damage is not None)
    await agent.stop()
