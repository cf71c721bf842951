"""A real agent gathers what gates ask for: beside the served model, on labelled examples, and from live requests."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np

from littoral_cloud.fleet.evidence import NodeEvidence
from littoral_cloud.fleet.records import Probation
from littoral_node.identity.folder import NodeFolder
from tests.kit.agent import AgentProcess, Maker, examples, good_weights, reported, want
from tests.kit.fleet import Fleet

pytest_plugins = ("tests.kit.redis", "tests.kit.agent_fixture")


@contextlib.asynccontextmanager
async def clients(agent: AgentProcess) -> AsyncIterator[list[tuple[int, int]]]:
    """Asks one example after another; gives (class, class of its label) of each answer."""
    answers: list[tuple[int, int]] = []

    async def ask() -> None:
        x, y = examples(1)
        while True:
            status, logits = await agent.infer(x)
            assert status == 200
            answers.append((int(logits[0].argmax()), int(y[0])))

    asking = asyncio.create_task(ask())
    try:
        yield answers
    finally:
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking


async def test_a_shadow_answers_no_client_and_what_it_would_have_answered_is_counted(
    fleet: Fleet, maker: Maker, folder: NodeFolder, tmp_path: Path
) -> None:
    labelled = tmp_path / "labelled"
    labelled.mkdir()
    x, y = examples(200)
    np.savez(labelled / "shard.npz", x=x, y=y)
    good, ruined = maker.artifact("good"), maker.artifact("ruined", weights=-good_weights())
    agent = await (await AgentProcess.start(folder.root, "--labelled", str(labelled))).ready()
    await want(fleet, good, 1)
    await reported(fleet, 1, "SUCCEEDED")
    async with clients(agent) as answers:
        while len(answers) < 20:  # noqa: ASYNC110 - a list says nothing to the loop
            await asyncio.sleep(0.01)
        await want(fleet, ruined, 2, Probation(duration_s=30.0, shadow_s=2.0, compare=1_000))
        done = await reported(fleet, 2, "ROLLED_BACK", "SUCCEEDED", "FAILED")
    assert (done.state, done.reason) == ("ROLLED_BACK", "accuracy-drop")
    found = done.evidence
    assert found is not None
    assert found.shadowed >= 1
    assert (found.shadow_agreed, found.shadow_failed) == (0, 0)
    assert found.shadowed <= 1_000
    assert (found.examples, found.worse, found.better) == (40, 40, 0)
    assert sum(found.class_worse) == 40
    assert found.requests_before >= 20
    wrong = [found for found, label in answers if found != label]
    assert len(wrong) <= found.requests  # of its probation, which its labelled examples end at once; none of the shadow
    assert await agent.stop() == 0


async def test_a_candidate_that_answers_alike_is_compared_and_its_latency_counts_from_its_own_process_on(
    fleet: Fleet, maker: Maker, folder: NodeFolder
) -> None:
    first, second = maker.artifact("first"), maker.artifact("second", weights=good_weights() * 2)
    agent = await (await AgentProcess.start(folder.root)).ready()
    await want(fleet, first, 1)
    await reported(fleet, 1, "SUCCEEDED")
    async with clients(agent):
        await want(fleet, second, 2, Probation(duration_s=1.5, compare=5))
        done = await reported(fleet, 2, "SUCCEEDED")
        assert isinstance(done.evidence, NodeEvidence)
        assert (done.evidence.compared, done.evidence.agreed) == (5, 5)
        assert done.evidence.requests > done.evidence.compared
        assert sum(done.evidence.latency.counts) < done.evidence.requests  # those of the isolated process do not count
    assert await agent.stop() == 0
    assert agent.noise == []
