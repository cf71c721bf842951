"""What nodes have shown to gates outlives kill -9 of the coordinator, an agent's start, and a node that has gone back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from littoral.digest import digest_of
from littoral.fleet.v1 import hardware_pb2, session_pb2
from littoral.fleet.v1.session_pb2 import TrialEvidence
from littoral_cloud.app import Core, open_core
from littoral_cloud.fleet.ledger import Change, Write
from littoral_cloud.fleet.measurements import MeasurementRecord, measurement_id
from littoral_cloud.fleet.records import Artifact, Probation, Release, dump
from littoral_cloud.rollouts.assignments import assignment_id
from littoral_cloud.rollouts.commands import start_rollout, wait
from littoral_cloud.rollouts.state import RolloutPolicy, RolloutState
from tests.kit.certificates import Credential
from tests.kit.coordinators import Coordinator, SeveralCoordinators, node_of
from tests.kit.fleet import until_written
from tests.kit.node_client import Line, NodeClient
from tests.kit.patience import PATIENCE_S
from tests.kit.redis_server import MortalRedis

pytest_plugins = ("tests.kit.redis",)

CANDIDATE = digest_of(b"candidate")
NODES = ("n1", "n2", "n3")
GATES = {"labelled": 0.02, "agreement": 0.9, "probation": 0.5}
POLICY = RolloutPolicy(wave_sizes=(3,), probation=Probation(duration_s=0.0), gates=GATES, wave_s=120.0)


async def released(core: Core) -> Release:
    """A candidate that each node has measured."""
    artifact = Artifact(
        manifest_digest=CANDIDATE,
        model="digits",
        name="candidate",
        runtime="onnxruntime",
        accuracy=1.0,
        artifact_bytes=1_000,
        parameters=48,
        architecture={"name": "linear"},
    )
    release = Release(release_id="digits-1", model="digits", kind="manual", artifacts=(CANDIDATE,), created_at=core.clock())
    ran = [
        MeasurementRecord(manifest_digest=CANDIDATE, node_id=id, hardware_class="", p95_ms=1.0, peak_rss_bytes=1, samples=9)
        for id in NODES
    ]
    writes = [Write("measurement", measurement_id(CANDIDATE, each.node_id), dump(each), None) for each in ran]
    writes += [Write("artifact", CANDIDATE, dump(artifact), None), Write("release", "digits-1", dump(release), None)]
    await core.ledger.commit(Change(tuple(writes)))
    return release


class Agent:
    """A node, word by word."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.number = 0

    async def told(self, digest: str = CANDIDATE) -> int:
        """The generation that the cloud wants of the model, once it wants this; "": nothing."""
        while True:
            desired = self.line.desired
            model = desired.models["digits"] if desired is not None and "digits" in desired.models else None
            if (model.manifest_digest if model is not None else "") == digest:
                return model.generation if model is not None else 0
            await self.line.hear("desired")

    async def says(self, state: str, generation: int, evidence: TrialEvidence | None = None) -> None:
        self.number += 1
        serving = CANDIDATE if state == "SUCCEEDED" else ""
        model = session_pb2.ReportedModel(
            state=session_pb2.UpdateState.Value(f"UPDATE_STATE_{state}"),
            desired_generation=generation,
            target_manifest_digest=CANDIDATE,
            serving_manifest_digest=serving,
            evidence=evidence,
        )
        await self.line.say(reported=session_pb2.ReportedState(generation=self.number, models={"digits": model}))


@asynccontextmanager
async def session(at: Coordinator, core: Core, credential: Credential, boot: str) -> AsyncIterator[Agent]:
    runtimes = [hardware_pb2.Runtime(name="onnxruntime")]
    async with NodeClient(at.fleet, core.trust.ca.pem, credential) as client:
        hardware = hardware_pb2.HardwareProfile(runtimes=runtimes)
        yield Agent(await client.begin(boot_id=boot * 32, features=["measure"], hardware=hardware))


@pytest.mark.slow  # ten seconds: the lease of the one that was killed has to lapse
async def test_a_gate_counts_everything_after_kill_9_of_the_coordinator(tmp_path: Path, mortal_redis: MortalRedis) -> None:
    """Two processes, because only a kill forgets what was in memory."""
    fleet = SeveralCoordinators(tmp_path, mortal_redis)
    async with asyncio.timeout(PATIENCE_S), fleet.serving(0, {}) as first, open_core(fleet.settings(0)) as core:
        keys = {id: await node_of(core, id) for id in NODES}
        async with (
            session(first, core, keys["n1"], "a") as one,
            session(first, core, keys["n2"], "b") as two,
            session(first, core, keys["n3"], "c") as three,
        ):
            id = await start_rollout(core.ledger, await released(core), core.clock(), POLICY, large_first_wave=True)
            generations = {name: await agent.told() for name, agent in zip(NODES, (one, two, three), strict=True)}
            passes = TrialEvidence(examples=2_000, worse=20, better=20, compared=400, agreed=400)
            await one.says("SUCCEEDED", generations["n1"], passes)
            await two.says("ROLLED_BACK", generations["n2"], TrialEvidence(examples=1_000, worse=10, better=10))
            await two.told("")  # the cloud knows that it failed, and wants nothing of it any more
            await two.says("ABORTED", generations["n2"] + 1)
            await until_written(core.ledger, "reported", "n2", generation=2)
            await until_written(core.ledger, "assignment", assignment_id(id, "n1"), state="COMMITTED")
            await first.command.end(0.0)
        async with (
            fleet.serving(0, {}) as again,
            session(again, core, keys["n1"], "d") as one,
            session(again, core, keys["n3"], "c") as three,
        ):
            await one.told()
            await one.says("SUCCEEDED", generations["n1"], TrialEvidence(requests=5, compared=300, agreed=300))
            await until_written(core.ledger, "reported", "n1", generation=1, boot_id="d" * 32)
            await three.told()
            await three.says("SUCCEEDED", generations["n3"], passes)
            ended = await wait(core.ledger, id)
    assert ended.state is RolloutState.SUCCEEDED, ended.reason
    found = {remark.split(":")[0]: remark for remark in ended.remarks}
    assert "on 5,000 labelled examples" in found["gate labelled"]
    assert "1,100 of 1,100 " in found["gate agreement"]
    assert "1 of 3 nodes have failed" in found["gate probation"]
