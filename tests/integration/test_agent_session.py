"""What a real agent does about a cloud that refuses it, goes away and comes back: it goes on serving."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from littoral_cloud.fleet.admitting import revoke
from littoral_cloud.fleet.ledger import Ledger
from littoral_cloud.fleet.profile import presence_of
from littoral_node.identity.folder import NodeFolder
from littoral_node.link.retry import REVOKED_RETRY
from tests.kit.agent import MODEL, NODE, AgentProcess, Maker, examples, good_weights, reported, want
from tests.kit.certificates import Credential
from tests.kit.fleet import Fleet

pytest_plugins = ("tests.kit.redis", "tests.kit.agent_fixture")


async def test_a_protocol_that_the_cloud_does_not_speak_is_refused_and_the_node_goes_on_serving(
    maker: Maker, folder: NodeFolder
) -> None:
    maker.install(folder, maker.artifact())
    agent = await (await AgentProcess.start(folder.root, module="tests.kit.foreign_agent")).ready()
    refused = await agent.until("session-refused", reason="PROTOCOL_UNSUPPORTED")
    assert refused["cloud_speaks"] == "1-1"
    assert (await agent.until("session-retry"))["after_s"] > 1000  # what the refusal asked for, not a storm
    assert await agent.accuracy() == 1.0
    assert await agent.stop() == 0


async def test_a_node_that_was_revoked_asks_seldom_and_goes_on_serving(fleet: Fleet, maker: Maker, folder: NodeFolder) -> None:
    maker.install(folder, maker.artifact())
    agent = await (await AgentProcess.start(folder.root)).ready()
    await agent.until("session-open")
    await revoke(fleet.ledger, NODE, reason="stolen", actor="ann")
    refused = await agent.until("session-refused", reason="NODE_REVOKED")
    assert refused["detail"] == f"node name-of-{NODE} is revoked: ask the operator of this fleet"
    assert (await agent.until("session-retry"))["after_s"] >= REVOKED_RETRY.first_s
    assert await agent.accuracy() == 1.0
    assert await agent.problems() == [f"revoked: {refused['detail']}"]
    assert await agent.stop() == 0


async def test_what_the_node_did_is_told_and_told_again_after_a_lost_session(
    fleet: Fleet, maker: Maker, folder: NodeFolder, ledger: Ledger
) -> None:
    first, second = maker.artifact("first"), maker.artifact("second", weights=good_weights() * 2)
    maker.install(folder, first)
    agent = await (await AgentProcess.start(folder.root, "--budget", "artifact<=20KB,runtime=onnxruntime")).ready()
    await fleet.until("presence", NODE, connected=True)
    presence = await presence_of(fleet.ledger, NODE)
    assert presence is not None
    assert presence.budget_for(MODEL).artifact_bytes == 20_000
    assert presence.hardware_class
    assert "onnxruntime" in presence.runtimes
    await agent.infer(examples(5)[0])
    async with ledger.watch("telemetry") as announcements:
        while await ledger.get("telemetry", f"{NODE}:{MODEL}") is None:
            await anext(announcements)

    identity = folder.identity()
    async with fleet.client(Credential(identity.key_pem, identity.certificate_pem)) as rival:
        await rival.begin()
        await agent.until("session-refused", reason="SUPERSEDED")
        await want(fleet, second, 2)  # said while the agent does not hear it
    assert (await reported(fleet, 2, "SUCCEEDED", "FAILED")).state == "SUCCEEDED"
    assert await agent.stop() == 0
    await fleet.until("presence", NODE, connected=False)


async def test_the_run_path_imports_nothing_that_only_others_need(
    fleet: Fleet, maker: Maker, folder: NodeFolder, tmp_path: Path
) -> None:
    """Through an update, a request and a telemetry report: whatever serving imports late is counted too."""
    labelled = tmp_path / "labelled"
    labelled.mkdir()
    x, y = examples(50)
    np.savez(labelled / "shard.npz", x=x, y=y)
    told = tmp_path / "modules"
    agent = await AgentProcess.start(
        folder.root, "--labelled", str(labelled), module="tests.kit.telling_agent", environment={"MODULES_TO": str(told)}
    )
    await agent.ready()
    await want(fleet, maker.artifact(), 1)
    await reported(fleet, 1, "SUCCEEDED")
    assert await agent.accuracy() == 1.0
    assert agent.rss_bytes() < 100_000_000
    assert await agent.stop() == 0
    imported = {name.partition(".")[0] for name in told.read_text().split()}
    assert {"littoral_node", "onnxruntime", "grpc"} <= imported
    assert (
        imported & {"torch", "flwr", "pydantic", "typer", "rich", "OpenSSL", "redis", "littoral_cloud", "onnx", "ncnn"} == set()
    )
