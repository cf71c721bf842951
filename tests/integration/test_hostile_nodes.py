"""What one node that is let in may cost: limits hold for the node, over all its sessions, and nobody else notices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import grpc
import pytest

from littoral.digest import digest_of
from littoral.fleet.v1 import blob_pb2, session_pb2
from littoral_cloud.fleet import drift, telemetry
from littoral_cloud.fleet.allowance import LINES_AT_ONCE
from littoral_cloud.fleet.ledger import Change, Ledger, Write
from littoral_cloud.fleet.measurements import node_of
from littoral_cloud.fleet.nodes import decommission
from littoral_cloud.fleet.records import Desired, FederatedTask
from littoral_cloud.fleet.windows import MODELS, OTHERS
from tests.kit.fleet import Fleet, open_fleet
from tests.kit.node_client import BOOT, Line
from tests.kit.patience import PATIENCE_S

pytest_plugins = ("tests.kit.redis",)

MANIFEST = "sha256:" + "a" * 64
STATES = (session_pb2.UPDATE_STATE_FAILED, session_pb2.UPDATE_STATE_ROLLED_BACK)


@pytest.fixture
async def fleet(ledger: Ledger, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with open_fleet(ledger, tmp_path / "blobs") as opened:
        yield opened


async def flips(line: Line, words: int, models: int, *, after: int) -> None:
    """Says of every model that its update came to another state, word after word."""
    for number in range(after + 1, after + words + 1):
        model = session_pb2.ReportedModel(state=STATES[number % 2], desired_generation=1)
        await line.say(reported=session_pb2.ReportedState(generation=number, models={f"m{n}": model for n in range(models)}))


async def test_a_node_that_fills_the_audit_trail_gets_so_many_lines_and_one_more(fleet: Fleet) -> None:
    bad, good = await fleet.enrol("bad"), await fleet.enrol("good")
    async with fleet.client(bad) as hostile, fleet.client(good) as peaceful:
        bystander = await peaceful.begin()
        for session in range(3):
            line = await hostile.begin()
            await flips(line, 20, 30, after=20 * session)
            await fleet.until("reported", "bad", generation=20 * (session + 1))
        await flips(bystander, 1, 3, after=0)
        await fleet.until("reported", "good")
    await fleet.until("presence", "bad", connected=False)
    trail = [entry for entry in await fleet.ledger.audit() if entry.subject == "bad"]
    counted = [entry for entry in trail if entry.action.startswith("update.")]
    left_out = sum(int(entry.details["lines"]) for entry in trail if entry.action == "audit.left-out")
    assert len(counted) + left_out == 3 * 20 * 30
    assert LINES_AT_ONCE <= len(counted) < 3 * 20 * 30 - LINES_AT_ONCE
    assert 1 <= len(trail) - len(counted) <= 8
    assert len([entry for entry in await fleet.ledger.audit() if entry.subject == "good"]) == 3


async def test_a_node_that_invents_models_fills_nothing(fleet: Fleet) -> None:
    credential = await fleet.enrol("n1")
    sketch = session_pb2.InputSketch(sketch_id="s", features=2, bins=2, counts=[1, 0, 1, 0], examples=1)
    async with fleet.client(credential) as client:
        for session in range(3):
            line = await client.begin(boot_id=f"{session:032x}")
            for number in range(1, 21):
                word = session_pb2.TelemetryReport(
                    boot_id=BOOT,
                    sequence=20 * session + number,
                    model_name=f"m{session}-{number}",
                    requests=1,
                    class_counts=[0] * 9_000,
                    inputs=sketch,
                )
                await line.say(telemetry=word)
                assert (await line.hear("telemetry_ack")).sequence == word.sequence
    kept = {kind: await fleet.ledger.all(kind) for kind in (telemetry.KIND, drift.KIND, MODELS)}
    assert [len(docs) for docs in kept.values()] == [OTHERS, OTHERS, 1]
    assert {len(doc.body["totals"]["class_counts"]) for doc in kept[telemetry.KIND]} == {0}


async def test_a_node_that_is_taken_out_leaves_its_name_and_the_trail_alone(fleet: Fleet) -> None:
    await fleet.ledger.commit(Change((Write("artifact", MANIFEST, {}, 0),)))
    task = FederatedTask(run_id="r", message_id="m", message_digest=MANIFEST, message_bytes=9, round=1)
    sketch = session_pb2.InputSketch(sketch_id="s", features=1, bins=1, counts=[1], examples=1)
    lines = {}
    async with AsyncExitStack() as stack:
        for node_id in ("out", "stays"):
            client = await stack.enter_async_context(fleet.client(await fleet.enrol(node_id)))
            await fleet.want(node_id, Desired(federated=task))
            line = lines[node_id] = await client.begin()
            await line.say(measurement=session_pb2.Measurement(manifest_digest=MANIFEST, p95_ms=1.0))
            await line.say(reported=session_pb2.ReportedState(generation=1))
            await line.say(telemetry=session_pb2.TelemetryReport(boot_id=BOOT, sequence=1, model_name="m", inputs=sketch))
            await line.hear("telemetry_ack")
            data = node_id.encode()
            header = blob_pb2.PutBlobHeader(digest=digest_of(data), total_bytes=len(data))
            put = [blob_pb2.PutBlobRequest(header=header), blob_pb2.PutBlobRequest(data=data)]
            await client.blobs.PutBlob(iter(put))
        await decommission(fleet.ledger, "out", "operator")
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):  # until it is told, it goes on
            for number in range(2, 50):
                await lines["out"].say(reported=session_pb2.ReportedState(generation=number))
        await lines["out"].ended()
        async with asyncio.timeout(PATIENCE_S), fleet.ledger.watch("reported", "presence") as news:
            while (kept := await kinds_by_node(fleet.ledger))["out"] != ["node"]:
                await anext(news)
    assert sorted(kept["stays"]) == sorted(
        ["desired", "inputs", "measurement", "node", "node-models", "presence", "profile", "reported", "telemetry", "uploads"]
    )
    assert "node.decommissioned" in [entry.action for entry in await fleet.ledger.audit() if entry.subject == "out"]


async def kinds_by_node(ledger: Ledger) -> dict[str, list[str]]:
    """Of what a document is kept, by the node that its id names."""
    kept: dict[str, list[str]] = {}
    for kind in await ledger.kinds():
        for doc in await ledger.all(kind):
            kept.setdefault(doc.id.partition(":")[0] if kind != "measurement" else node_of(doc.id), []).append(kind)
    return kept
