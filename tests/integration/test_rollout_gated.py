"""A whole rollout under a gate: the coordinator's controller, a real agent, live requests, and what the gate makes of them."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

import pytest

from littoral_cloud.fleet.ledger import Change, Write
from littoral_cloud.fleet.records import Artifact, Probation, Release, Reported, dump, load
from littoral_cloud.rollouts.commands import start_rollout, wait
from littoral_cloud.rollouts.controller import Controller
from littoral_cloud.rollouts.state import Rollout, RolloutPolicy, RolloutState
from littoral_node.identity.folder import NodeFolder
from tests.integration.test_agent_evidence import clients
from tests.kit.agent import MODEL, NODE, AgentProcess, Maker, good_weights, reported, want
from tests.kit.fleet import Fleet
from tests.kit.patience import PATIENCE_S
from tests.kit.view import following

pytest_plugins = ("tests.kit.redis", "tests.kit.agent_fixture")

SHADOW = RolloutPolicy(
    probation=Probation(duration_s=3.0, shadow_s=2.0, compare=2_000, evidence_s=60.0), gates={"shadow": 0.6}, wave_s=30.0
)


async def rolled_out(fleet: Fleet, agent: AgentProcess, served: str, candidate: str) -> Rollout:
    """How a rollout of the candidate ends, to the one node that serves the other, with clients."""
    for digest, name in ((served, "served"), (candidate, "candidate")):
        record = Artifact(
            manifest_digest=digest,
            model=MODEL,
            name=name,
            runtime="onnxruntime",
            accuracy=1.0,
            artifact_bytes=1_000,
            parameters=48,
            architecture={"name": "linear"},
        )
        await fleet.ledger.commit(Change((Write("artifact", digest, dump(record), None),)))
    release = Release(release_id=f"{MODEL}-2", model=MODEL, kind="manual", artifacts=(candidate,), created_at=fleet.clock())
    await fleet.ledger.commit(Change((Write("release", release.release_id, dump(release), None),)))
    await want(fleet, served, 1)
    await reported(fleet, 1, "SUCCEEDED")
    async with following(fleet.ledger) as seen, clients(agent):
        running = asyncio.create_task(Controller(fleet.ledger, seen, fleet.clock, random.Random(3)).run())
        try:
            id = await start_rollout(fleet.ledger, release, fleet.clock(), SHADOW, large_first_wave=True)
            return await wait(fleet.ledger, id, PATIENCE_S)
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


@pytest.mark.slow  # ten seconds each: a shadow needs time, and requests
@pytest.mark.parametrize(
    ("factor", "state", "words"),
    [
        (-1, RolloutState.ROLLED_BACK, "gate shadow: 0 of "),
        (2, RolloutState.SUCCEEDED, "gate shadow: pass: "),
    ],
)
async def test_the_shadow_decides(
    factor: int, state: RolloutState, words: str, fleet: Fleet, maker: Maker, folder: NodeFolder
) -> None:
    served, candidate = maker.artifact("served"), maker.artifact("candidate", weights=good_weights() * factor)
    agent = await (await AgentProcess.start(folder.root)).ready()
    ended = await rolled_out(fleet, agent, served, candidate)
    assert ended.state is state, ended.reason
    assert words in (ended.reason or ended.remarks[-1])
    doc = await fleet.ledger.get("reported", NODE)
    assert doc is not None
    assert load(Reported, doc).models[MODEL].serving == (candidate if state is RolloutState.SUCCEEDED else served)
    assert await agent.stop() == 0
