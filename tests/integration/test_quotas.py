"""The sum of the quotas is held by a real agent: what is beyond a model's quota of memory or disk is refused, and told."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import numpy as np
import pytest

from littoral.digest import hex_of
from littoral.quota import NodeLimits
from littoral_cloud.fleet.ledger import Change, Write
from littoral_cloud.fleet.measurements import MeasurementRecord, measurement_id
from littoral_cloud.fleet.nodes import view_nodes
from littoral_cloud.fleet.profile import presence_of
from littoral_cloud.fleet.records import Artifact, Desired, dump, load
from littoral_node.identity.folder import NodeFolder
from tests.kit.agent import NODE, QUICK, AgentProcess, Maker, examples, good_weights
from tests.kit.fleet import Fleet
from tests.kit.patience import PATIENCE_S
from tests.kit.several import reported, want

pytest_plugins = ("tests.kit.redis", "tests.kit.agent_fixture")

LARGE = 6_000_000  # bytes that a padded model's file takes, and so at least its memory while it is loaded


def on_disk(folder: NodeFolder, digest: str) -> int:
    return sum(file.stat().st_size for file in (folder.artifacts / hex_of(digest)).iterdir() if file.suffix == ".onnx")


async def test_a_model_beyond_its_quota_of_memory_is_refused_and_the_other_one_serves(
    fleet: Fleet, maker: Maker, folder: NodeFolder
) -> None:
    shares = ("--memory", "60MB", "--budgets", "digits: rss<=2MB; faces: quota=80%")
    agent = await (await AgentProcess.start(folder.root, *shares)).ready()
    small, large = maker.artifact("small", model="digits"), maker.artifact("large", model="digits", padding=LARGE)
    faces = maker.artifact("faces", model="faces", padding=LARGE)
    await want(fleet, digits=(small, 1, QUICK), faces=(faces, 1, QUICK))
    done = await reported(fleet, digits=1, faces=1)
    assert {name: (model.state, model.reason) for name, model in done.items()} == {
        "digits": ("SUCCEEDED", ""),
        "faces": ("SUCCEEDED", ""),  # as large as what digits may not have
    }
    assert LARGE / 2 < done["faces"].memory_bytes < 48_000_000
    assert done["faces"].disk_bytes == on_disk(folder, faces)
    await want(fleet, digits=(large, 2, QUICK), faces=(faces, 1, QUICK))
    done = await reported(fleet, digits=2, faces=1)
    assert (done["digits"].state, done["digits"].reason, done["digits"].serving) == ("FAILED", "over-quota", small)
    assert "the quota of digits is 2000000 of 60000000" in done["digits"].detail
    [node] = await view_nodes(fleet.ledger, fleet.clock())  # as `node show` prints it
    shown = {model.model: (model.memory_quota, model.memory_bytes, model.disk_quota) for model in node.models}
    assert shown == {
        "digits": (2_000_000, done["digits"].memory_bytes or None, None),
        "faces": (48_000_000, done["faces"].memory_bytes, None),
    }
    assert sum(model.requests_quota or 0 for model in node.models) <= 256
    assert node.presence is not None
    assert str(node.presence.budget_for("faces")) == "rss<=48000000B,quota=0.8"
    for name in ("digits", "faces"):
        assert (await agent.infer(examples(2)[0], name))[0] == 200
    await agent.stop()


@pytest.mark.slow
async def test_a_newcomer_that_does_not_fit_beside_what_serves_is_refused_not_the_one_that_serves(
    fleet: Fleet, maker: Maker, folder: NodeFolder
) -> None:
    agent = await (await AgentProcess.start(folder.root, "--memory", "100MB")).ready()
    old = maker.artifact("old", model="old", padding=LARGE)
    await want(fleet, old=(old, 1, QUICK))
    taken = (await reported(fleet, old=1))["old"].memory_bytes
    await agent.stop()

    whole = str(taken + taken // 2)  # less than both take, and both a half of it or more
    agent = await (await AgentProcess.start(folder.root, "--memory", whole)).ready()
    await agent.until("serving", model="old")  # alone it has all of it
    new = maker.artifact("new", model="new", padding=LARGE)
    await want(fleet, old=(old, 1, QUICK), new=(new, 1, QUICK))
    done = await reported(fleet, new=1, old=1)
    assert (done["new"].state, done["new"].reason, done["old"].serving) == ("FAILED", "over-quota", old)
    assert (await agent.infer(examples(2)[0], "old"))[0] == 200
    await agent.stop()

    agent = await (await AgentProcess.start(folder.root, "--memory", str(taken // 2))).ready()
    seen = await agent.until("over-quota", model="old", manifest=old)  # the operator asked for less than what served takes
    assert "wants" in seen["detail"] or "quota" in seen["detail"]
    assert (await agent.infer(examples(2)[0], "old"))[0] == 404
    await agent.until("update", model="old", state="FAILED", reason="over-quota")  # and the fleet is told
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as client:
        loading = await client.post(f"http://{agent.http}/v2/repository/models/old/load")
    assert (loading.status_code, "memory: old wants" in loading.json()["error"]) == (409, True)
    await agent.stop()


@pytest.mark.slow
async def test_the_disk_holds_all_artifacts_with_those_that_are_kept(fleet: Fleet, maker: Maker, folder: NodeFolder) -> None:
    size = 30_000
    agent = await (await AgentProcess.start(folder.root, "--disk", "300KB", "--budgets", "faces: disk<=60KB")).ready()
    digits = [
        maker.artifact(f"digits-{n}", model="digits", weights=good_weights() * np.float32(n), padding=size) for n in (1, 2, 3)
    ]
    for generation, digest in enumerate(digits, 1):
        await want(fleet, digits=(digest, generation, QUICK))
        assert (await reported(fleet, digits=generation))["digits"].state == "SUCCEEDED"
    await want(fleet, digits=(digits[-1], 3, QUICK), faces=(maker.artifact("faces", model="faces", padding=size), 1, QUICK))
    done = await reported(fleet, digits=3, faces=1)
    assert (done["faces"].state, done["faces"].reason) == ("FAILED", "over-quota")
    assert "faces has 60000 of 300000 bytes of disk for 3 artifacts" in done["faces"].detail
    await want(fleet, digits=(digits[-1], 3, QUICK), faces=(maker.artifact("little", model="faces"), 2, QUICK))
    done = await reported(fleet, digits=3, faces=2)
    assert (done["faces"].state, done["digits"].serving, done["digits"].previous) == ("SUCCEEDED", digits[2], digits[1])
    assert sum(file.stat().st_size for file in folder.artifacts.rglob("*.onnx")) <= 300_000
    assert done["digits"].disk_bytes == sum(on_disk(folder, digest) for digest in digits[1:])
    await agent.stop()


async def test_candidates_that_are_measured_do_not_pile_up_on_a_bounded_disk(
    fleet: Fleet, maker: Maker, folder: NodeFolder
) -> None:
    agent = await (await AgentProcess.start(folder.root, "--disk", "100KB")).ready()
    digests = [maker.artifact(f"c{n}", weights=good_weights() * np.float32(n), padding=30_000) for n in (1, 2, 3, 4)]
    large = maker.artifact("large", padding=60_000)
    for digest in (*digests, large):
        known = Artifact(
            manifest_digest=digest,
            model="tiny",
            name="a",
            runtime="onnxruntime",
            accuracy=1.0,
            artifact_bytes=1,
            parameters=48,
            architecture={},
        )
        await fleet.ledger.commit(Change((Write("artifact", digest, dump(known), 0),)))
    await fleet.want(NODE, Desired(benchmarks=(*digests, large)))
    failed = load(MeasurementRecord, await fleet.until("measurement", measurement_id(large, NODE), failure="over-quota"))
    assert "for 3 artifacts" in failed.detail
    for digest in digests:
        await fleet.until("measurement", measurement_id(digest, NODE), failure="")
    assert list(folder.artifacts.iterdir()) == []
    await agent.stop()


async def test_the_cloud_is_told_of_the_whole_and_of_each_models_quota(fleet: Fleet, maker: Maker, folder: NodeFolder) -> None:
    flags = ("--memory", "40MB", "--requests", "64", "--budget", "p95<=5ms", "--budgets", "digits: quota=50%; faces: disk<=2MB")
    agent = await (await AgentProcess.start(folder.root, *flags)).ready()
    await agent.until("session-open")
    await fleet.until("presence", NODE, connected=True)
    presence = await presence_of(fleet.ledger, NODE)
    assert presence is not None
    assert presence.limits == NodeLimits(memory_bytes=40_000_000, requests=64)
    assert (presence.budgets["digits"].quota, presence.budgets["faces"].disk_bytes) == (0.5, 2_000_000)
    shared = presence.sharing({"words"})
    assert {name: shared.budget_for(name).peak_rss_bytes for name in ("digits", "faces", "words", "new")} == {
        "digits": 20_000_000,
        "faces": 10_000_000,
        "words": 10_000_000,
        "new": 6_666_666,
    }
    assert shared.budget_for("words").latency_ms == 5.0
    await agent.stop()


async def test_quotas_over_the_whole_are_refused_before_anything_is_served(tmp_path: Path, folder: NodeFolder) -> None:
    agent = await AgentProcess.start(folder.root, "--memory", "10MB", "--budgets", "a: rss<=8MB; b: rss<=4MB")
    async with asyncio.timeout(PATIENCE_S):
        assert await agent.ended() == 2
    [said] = [event["error"] for event in agent.events if "error" in event]
    assert said["message"] == (
        "budgets: the quotas of memory add up to 12,000,000 bytes of 10,000,000 bytes: a 8,000,000 bytes, b 4,000,000 bytes"
    )
    assert "raise the node's limit" in said["hint"]
