"""The commands of docs/operations.md that back a coordinator up and restore it, run as they stand there."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

from littoral.fleet.v1 import session_pb2
from littoral_cloud.fleet.ledger import Audit, Change, Write
from littoral_cloud.fleet.records import Desired, DesiredModel, dump
from tests.kit.cloud import a_node, running_cloud
from tests.kit.node_client import NodeClient, hello_word
from tests.kit.patience import PATIENCE_S

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()


async def run(name: str, **places: Path) -> str:
    """Runs the block of the page with this name; gives what it prints."""
    [block] = re.findall(rf"<!-- run: {name} -->\n```sh\n(.*?)```", PAGE, re.DOTALL)
    environment = {**os.environ, **{key: str(path) for key, path in places.items()}}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    process = await asyncio.create_subprocess_exec(
        "bash", "-euo", "pipefail", "-c", block, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(PATIENCE_S):
        out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    return out.decode()


async def test_a_restored_coordinator_has_its_nodes_its_blobs_and_its_trail(tmp_path: Path) -> None:
    before, after, backup = tmp_path / "before", tmp_path / "after", tmp_path / "backup"
    async with running_cloud(before) as cloud:
        known = await a_node(cloud.core, "n1", "kitchen")
        blob = cloud.core.blobs.put(b"a model")
        wanted = Desired(models={"digits": DesiredModel(manifest_digest=blob, rollout_id="r1", generation=7)})
        line = Audit("rollout.started", "r1", "ana")
        await cloud.core.ledger.commit(Change((Write("desired", "n1", dump(wanted), 0),), (line,)))
        fingerprint = cloud.core.trust.ca.fingerprint
        async with NodeClient(cloud.serving.fleet, cloud.core.trust.ca.pem, known) as node:
            await node.begin()  # the coordinator works while it is copied
            await run("backup", DATA=before, BACKUP=backup)
        late = await a_node(cloud.core, "n2", "latecomer")
        await cloud.core.ledger.commit(Change((), (Audit("rollout.aborted", "r1", "ben"),)))
    assert (backup / "redis.rdb").stat().st_mode & 0o077 == 0, "it has tokens and keys"
    assert (backup / "data.tar").stat().st_mode & 0o077 == 0

    await run("restore", DATA=after, BACKUP=backup)
    async with running_cloud(after) as cloud:
        assert cloud.core.trust.ca.fingerprint == fingerprint
        assert cloud.core.blobs.read(blob) == b"a model"
        trail = [(each.action, each.actor) for each in await cloud.core.ledger.audit()]
        assert ("rollout.started", "ana") in trail
        assert ("rollout.aborted", "ben") not in trail
        async with NodeClient(cloud.serving.fleet, cloud.core.trust.ca.pem, known) as node:
            session = await node.begin()
            assert session.desired is not None
            assert session.desired.models["digits"].generation == 7
        async with NodeClient(cloud.serving.fleet, cloud.core.trust.ca.pem, late) as node:
            session = node.open()
            await session.say(hello=hello_word())
            refusal = await session.hear("refusal")
            assert refusal.reason == session_pb2.REFUSAL_REASON_NODE_UNKNOWN
