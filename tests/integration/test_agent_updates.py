"""A real agent process against a real cloud: what it is told to serve, it serves, and what is wrong never gets that far."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest

from littoral.digest import digest_of
from littoral.identity import seal
from littoral.manifest import PAYLOAD_TYPE
from littoral.preparation import Input
from littoral_cloud.fleet.ledger import Change, Write
from littoral_cloud.fleet.measurements import MeasurementRecord, measurement_id
from littoral_cloud.fleet.records import Artifact, Desired, Probation, ReportedModel, dump, load
from littoral_node.identity.folder import NodeFolder
from tests.kit.agent import MODEL, NODE, SHAPE, AgentProcess, Maker, examples, good_weights, reported, want
from tests.kit.fleet import Fleet

pytest_plugins = ("tests.kit.redis", "tests.kit.agent_fixture")


async def test_a_node_serves_what_it_is_told_goes_back_without_a_download_and_starts_without_the_cloud(
    fleet: Fleet, maker: Maker, folder: NodeFolder
) -> None:
    first, second = maker.artifact("first"), maker.artifact("second", weights=good_weights() * 2)
    agent = await (await AgentProcess.start(folder.root)).ready()
    assert (await agent.infer(examples(1)[0]))[0] == 404
    await want(fleet, first, 1)
    done = await reported(fleet, 1, "SUCCEEDED", "FAILED")
    assert (done.state, done.serving, done.previous, done.reason) == ("SUCCEEDED", first, "", "")
    await agent.until("probation-unseen")  # nobody asked anything meanwhile
    assert await agent.accuracy() == 1.0
    assert agent.rss_bytes() < 100_000_000

    await want(fleet, second, 2)
    done = await reported(fleet, 2, "SUCCEEDED", "FAILED")
    assert (done.serving, done.previous) == (second, first)
    x, _ = examples(3)
    np.testing.assert_allclose(
        (await agent.infer(x))[1], 2 * (x / 255).reshape(3, -1).astype(np.float32) @ good_weights(), rtol=1e-4
    )

    for entry in fleet.blobs.root.rglob("*"):
        if entry.is_file():
            entry.unlink()  # nothing can be downloaded any more
    await want(fleet, first, 3)
    done = await reported(fleet, 3, "SUCCEEDED", "FAILED")
    assert (done.state, done.serving, done.previous) == ("SUCCEEDED", first, second)

    await want(fleet, first, 4)  # what is there already needs nothing
    assert (await reported(fleet, 4, "SUCCEEDED", "FAILED", "PENDING")).state == "SUCCEEDED"
    assert await agent.stop() == 0

    await fleet.listener.stop(0)
    agent = await (await AgentProcess.start(folder.root)).ready()
    assert await agent.accuracy() == 1.0
    await agent.until("session-lost")
    assert await agent.stop() == 0
    assert agent.noise == []


async def test_a_ruined_model_with_a_right_signature_is_rolled_back_by_the_nodes_own_examples(
    fleet: Fleet, maker: Maker, folder: NodeFolder, tmp_path: Path
) -> None:
    labelled = tmp_path / "labelled"
    labelled.mkdir()
    x, y = examples(200)
    np.savez(labelled / "shard.npz", x=x, y=y)
    good, ruined = maker.artifact("good"), maker.artifact("ruined", weights=-good_weights())
    agent = await (await AgentProcess.start(folder.root, "--labelled", str(labelled))).ready()
    await want(fleet, good, 1)
    assert (await reported(fleet, 1, "SUCCEEDED", "FAILED", "ROLLED_BACK")).probation.accuracy == 1.0
    await want(fleet, ruined, 2, Probation(duration_s=30.0, max_accuracy_drop=0.05))
    done = await reported(fleet, 2, "SUCCEEDED", "FAILED", "ROLLED_BACK")
    assert (done.state, done.reason, done.serving, done.previous) == ("ROLLED_BACK", "accuracy-drop", good, "")
    assert done.probation is not None
    assert done.probation.previous_accuracy == 1.0
    assert done.probation.accuracy < 0.1
    assert done.probation.examples == 40
    assert await agent.accuracy() == 1.0
    await agent.stop()


@pytest.mark.slow
async def test_no_request_is_lost_in_swaps(fleet: Fleet, maker: Maker, folder: NodeFolder) -> None:
    first = maker.artifact("first")
    agent = await (await AgentProcess.start(folder.root)).ready()
    await want(fleet, first, 1)
    await reported(fleet, 1, "SUCCEEDED")
    x, _ = examples(2)
    statuses: list[int] = []
    done = asyncio.Event()

    async def ask() -> None:
        while not done.is_set():
            statuses.append((await agent.infer(x))[0])

    asking = asyncio.create_task(ask())
    for generation, scale in ((2, 2.0), (3, 3.0), (4, 4.0)):
        await want(fleet, maker.artifact(f"x{scale}", weights=good_weights() * np.float32(scale)), generation)
        assert (await reported(fleet, generation, "SUCCEEDED", "FAILED", "ROLLED_BACK")).state == "SUCCEEDED"
    done.set()
    await asking
    assert len(statuses) > 10
    assert set(statuses) == {200}
    await agent.stop()


async def test_what_is_wrong_with_an_artifact_is_found_before_it_serves(
    fleet: Fleet, maker: Maker, folder: NodeFolder, tmp_path: Path
) -> None:
    good = maker.artifact("good")
    agent = await (await AgentProcess.start(folder.root, "--budget", "artifact<=20KB")).ready()
    await want(fleet, good, 1)
    await reported(fleet, 1, "SUCCEEDED")
    generation = 1

    async def refused(digest: str) -> ReportedModel:
        nonlocal generation
        generation += 1
        await want(fleet, digest, generation)
        done = await reported(fleet, generation, "SUCCEEDED", "FAILED", "ROLLED_BACK")
        assert (done.state, done.serving) == ("FAILED", good), done
        return done

    assert (await refused(maker.artifact("liar", probe_error=0.5))).reason == "probe-mismatch"
    assert (await refused(maker.artifact("nan", weights=good_weights() * np.float32("nan"), probe_error=0.0))).reason in (
        "probe-mismatch",
        "runtime-failure",
    )
    assert (await refused(maker.artifact("big", padding=30_000))).reason == "over-budget"
    assert (await refused(maker.artifact("foreign", runtime="tensorrt"))).reason == "runtime-missing"
    assert (await refused(maker.artifact("other", model="other"))).reason == "bad-manifest"
    assert (await refused(digest_of(b"nobody holds this"))).reason == "not-found"

    body = json.loads(maker.manifest("short", good_weights(), b"x").encode())
    del body["probe"]
    missing = await refused(fleet.blobs.put(seal(json.dumps(body).encode(), PAYLOAD_TYPE, maker.key)))
    assert missing.reason == "bad-manifest"
    assert "manifest.probe: is missing" in missing.detail

    stranger = Maker(fleet)
    assert (await refused(stranger.artifact("stranger"))).reason == "untrusted"

    flipped = maker.artifact("flipped", weights=good_weights() * np.float32(5))
    manifest = maker.manifest("garbage", good_weights(), b"this is no ONNX file")
    assert (await refused(maker.seal(manifest))).reason == "runtime-failure"
    for path in fleet.blobs.root.rglob("*"):
        if path.is_file() and b"flipped" in (data := path.read_bytes()) and not data.startswith(b"{"):
            path.chmod(0o644)
            path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    done = await refused(flipped)
    assert done.reason == "digest-mismatch"
    assert await agent.accuracy() == 1.0
    await agent.stop()


async def test_a_newer_wish_ends_the_update_that_is_under_way(fleet: Fleet, maker: Maker, folder: NodeFolder) -> None:
    first, second, third = (
        maker.artifact(name, weights=good_weights() * np.float32(k)) for k, name in ((1, "a"), (2, "b"), (3, "c"))
    )
    agent = await (await AgentProcess.start(folder.root)).ready()
    await want(fleet, first, 1)
    await reported(fleet, 1, "SUCCEEDED")
    await want(fleet, second, 2, Probation(duration_s=600.0))
    assert (await reported(fleet, 2, "PROBATION", serving=second)).previous == first
    await want(fleet, third, 3)
    await agent.until("update", state="ABORTED", generation=2, reason="superseded")
    done = await reported(fleet, 3, "SUCCEEDED", "FAILED")
    assert (done.state, done.serving, done.previous) == ("SUCCEEDED", third, first)
    await agent.stop()


async def test_candidates_are_measured_and_told_and_a_bad_one_is_told_as_bad(
    fleet: Fleet, maker: Maker, folder: NodeFolder, tmp_path: Path
) -> None:
    good, bad = maker.artifact("good"), maker.artifact("liar", probe_error=1.0)
    agent = await (await AgentProcess.start(folder.root, "--measure-lock", str(tmp_path / "lock"))).ready()
    for digest in (good, bad):
        known = Artifact(
            manifest_digest=digest,
            model=MODEL,
            name="a",
            runtime="onnxruntime",
            accuracy=1.0,
            artifact_bytes=1,
            parameters=48,
            architecture={},
        )
        await fleet.ledger.commit(Change((Write("artifact", digest, dump(known), 0),)))
    await fleet.want(NODE, Desired(benchmarks=(good, bad)))
    measured = load(MeasurementRecord, await fleet.until("measurement", measurement_id(good, NODE), failure=""))
    assert measured.p95_ms >= measured.p50_ms > 0
    assert measured.samples > 0
    await fleet.until("measurement", measurement_id(bad, NODE), failure="probe-mismatch")
    assert (await agent.infer(examples(1)[0]))[0] == 404  # measuring serves nothing
    await agent.stop()


async def test_failing_requests_end_probation_and_the_old_model_answers_again(
    fleet: Fleet, maker: Maker, folder: NodeFolder
) -> None:
    first, fragile = maker.artifact("first"), maker.artifact("fragile", fragile=True)
    maker.install(folder, first)
    agent = await (await AgentProcess.start(folder.root)).ready()
    await want(fleet, fragile, 2, Probation(duration_s=600.0, max_failure_rate=0.2))
    await reported(fleet, 2, "PROBATION", serving=fragile)
    glaring = np.full((1, 4, 4), 255, np.uint8)
    assert [(await agent.infer(glaring))[0] for _ in range(5)] == [500] * 5
    done = await reported(fleet, 2, "ROLLED_BACK", "SUCCEEDED", "FAILED")
    assert (done.state, done.reason, done.serving) == ("ROLLED_BACK", "failure-rate", first)
    assert done.probation is not None
    assert done.probation.failed_requests >= 5
    assert (await agent.infer(glaring))[0] == 200
    await agent.stop()


async def test_a_client_whose_requests_no_model_takes_says_nothing_about_the_new_one_but_one_who_was_answered_before_does(
    fleet: Fleet, maker: Maker, folder: NodeFolder
) -> None:
    first = maker.artifact("first")
    narrower = maker.artifact("narrower", input=Input("image", SHAPE, 1 / 255, (0.0,), (1.0,)))
    maker.install(folder, first)
    agent = await (await AgentProcess.start(folder.root)).ready()
    await want(fleet, narrower, 2, Probation(duration_s=600.0, max_failure_rate=0.2))
    await reported(fleet, 2, "PROBATION", serving=narrower)
    assert [(await agent.infer(np.zeros((1, 5, 4), np.uint8)))[0] for _ in range(8)] == [400] * 8
    assert [(await agent.infer(examples(1)[0]))[0] for _ in range(4)] == [400] * 4
    await reported(fleet, 2, "PROBATION", serving=narrower)  # four are too few to say so before the time is over
    assert (await agent.infer(examples(1)[0]))[0] == 400
    done = await reported(fleet, 2, "ROLLED_BACK", "SUCCEEDED", "FAILED")
    assert (done.reason, done.serving) == ("refuses-requests", first)
    assert "5 of 5 requests are refused that the model before answers" in done.detail
    assert (await agent.infer(examples(1)[0]))[0] == 200
    await agent.stop()


async def test_a_first_model_that_fails_its_probation_is_taken_out(fleet: Fleet, maker: Maker, folder: NodeFolder) -> None:
    agent = await (await AgentProcess.start(folder.root)).ready()
    fragile = maker.artifact("fragile", fragile=True)
    await want(fleet, fragile, 1, Probation(duration_s=600.0))
    await reported(fleet, 1, "PROBATION", serving=fragile)
    glaring = np.full((1, 4, 4), 255, np.uint8)
    for _ in range(5):
        await agent.infer(glaring)
    done = await reported(fleet, 1, "ROLLED_BACK", "SUCCEEDED", "FAILED")
    assert (done.state, done.serving) == ("ROLLED_BACK", "")
    assert (await agent.infer(glaring))[0] == 404
    await agent.stop()
