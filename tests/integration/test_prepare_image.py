"""`littoral-node prepare-image`: nothing of the node stays in the folder, and each machine from it becomes a node of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from littoral_node.identity.files import write_record
from littoral_node.identity.folder import NodeFolder
from littoral_node.identity.good_time import GoodTime
from tests.integration.test_agent_certificates import littoral_node
from tests.kit.agent import AgentProcess
from tests.kit.cloud import Cloud

pytest_plugins = ("tests.kit.cloud_fixture",)


async def node(cloud: Cloud, place: Path) -> NodeFolder:
    line = (await cloud.join_line()).render()
    code, _, err = await littoral_node("enroll", line, "--data", str(place), "--name", "golden")
    assert code == 0, err
    return NodeFolder(place)


@pytest.mark.slow
async def test_two_machines_from_one_image_are_two_nodes(cloud: Cloud, tmp_path: Path) -> None:
    folder = await node(cloud, tmp_path / "golden")
    agent = await (await AgentProcess.start(folder.root)).ready()
    await agent.until("session-open")
    code, _, err = await littoral_node("prepare-image", "--data", str(folder.root), "--yes")
    assert (code, "another littoral-node runs" in err) == (8, True)
    assert await agent.stop() == 0
    (folder.root / "node.toml").write_text("threads = 1\n")
    (folder.artifacts / "ab").mkdir()
    write_record(folder.clock, GoodTime(1_700_000_000.0))
    (folder.root / "state.damaged").write_text("old")
    before = folder.identity()
    line = (await cloud.join_line(uses=2)).render()
    code, said, err = await littoral_node("prepare-image", line, "--data", str(folder.root), "--yes")
    assert (code, said["join_line"]) == (0, True), err
    left = {each.name for each in folder.root.iterdir()}
    assert left == {"node.toml", "artifacts", "clock.json", "join", ".lock"}
    assert (folder.join_line.stat().st_mode & 0o777) == 0o600
    secrets = (before.node_id.encode(), before.key_pem.splitlines()[1], before.node_name.encode())
    for file in (each for each in folder.root.rglob("*") if each.is_file()):
        assert not any(secret in file.read_bytes() for secret in secrets), file

    found = []
    for name in ("one", "two"):
        shutil.copytree(folder.root, tmp_path / name)
        agent = await (await AgentProcess.start(tmp_path / name)).ready()
        await agent.until("session-open")
        assert await agent.stop() == 0
        machine = NodeFolder(tmp_path / name)
        assert not machine.join_line.exists()
        found.append(machine.identity())
    assert len({identity.node_id for identity in (before, *found)}) == 3
    assert len({identity.key_pem for identity in (before, *found)}) == 3
    assert len(await cloud.core.ledger.all("node")) == 3


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ((), 2, "--yes: is missing; of"),
        (("junk", "--yes"), 2, "join line: must begin with"),
        (("--join-file", "/nowhere", "--yes"), 2, "--join-file /nowhere: cannot be read"),
    ],
)
async def test_what_is_wrong_is_named_and_nothing_goes(
    cloud: Cloud, tmp_path: Path, words: tuple[str, ...], code: int, told: str
) -> None:
    folder = await node(cloud, tmp_path / "golden")
    before = folder.identity()
    found, _, err = await littoral_node("prepare-image", "--data", str(folder.root), *words)
    assert (found, told in err) == (code, True), err
    assert folder.identity() == before


async def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    found, _, err = await littoral_node("prepare-image", "--data", str(tmp_path / "none"), "--yes")
    assert (found, "there is no such folder" in err) == (4, True)


async def test_a_first_start_without_a_coordinator_ends_and_the_next_one_enrols(cloud: Cloud, tmp_path: Path) -> None:
    folder = NodeFolder(tmp_path / "image")
    folder.prepare()
    line = await cloud.join_line()
    folder.join_line.write_text(type(line)("127.0.0.1:9", line.token, line.expires_at, line.ca_sha256).render())
    agent = await AgentProcess.start(folder.root)
    assert await agent.ended() == 8
    assert folder.join_line.exists()
    folder.join_line.write_text(line.render())
    agent = await (await AgentProcess.start(folder.root)).ready()
    assert await agent.stop() == 0
    assert folder.enrolled()
