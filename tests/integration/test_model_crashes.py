"""Models that crash or hang their runtime, for real: the agent lives, the request is answered, and the cloud hears of it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from cloud.fleet.records import Probation
from edge_node.store import NodeFolder
from tests.kit.agent import AgentProcess, Maker, examples, glaring, good_weights, reported, want
from tests.kit.fleet import Fleet

pytest_plugins = ("tests.kit.redis", "tests.kit.agent_fixture")

LONG = Probation(duration_s=600.0)


def children_of(pid: int) -> list[int]:
    """Of those that run a model."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return [child for child in found if b"edge_node.apart.child" in Path(f"/proc/{child}/cmdline").read_bytes()]


@pytest.mark.parametrize(
    ("trap", "reason", "words"), [("crash", "runtime-crash", "SIGFPE"), ("hang", "runtime-hang", "longer than 1 s")]
)
async def test_a_request_that_takes_a_model_on_trial_down_is_answered_by_the_one_before(
    fleet: Fleet, maker: Maker, folder: NodeFolder, trap: str, reason: str, words: str
) -> None:
    first = maker.artifact("first")
    maker.install(folder, first)
    agent = await (await AgentProcess.start(folder.root, "--inference-limit", "1s")).ready()
    trapped = maker.artifact("trapped", weights=good_weights() * 2, trap=trap)
    await want(fleet, trapped, 2, LONG)
    await reported(fleet, 2, "PROBATION", serving=trapped)
    x, _ = examples(1)
    np.testing.assert_allclose(
        (await agent.infer(x))[1], 2 * (x / 255).reshape(1, -1).astype(np.float32) @ good_weights(), rtol=1e-4
    )
    status, logits = await agent.infer(glaring())
    assert status == 200
    np.testing.assert_allclose(
        logits, np.ones((1, 16), np.float32) @ good_weights(), rtol=1e-4
    )  # of the first, not twice as much
    done = await reported(fleet, 2, "ROLLED_BACK", "SUCCEEDED", "FAILED")
    assert (done.state, done.reason, done.serving) == ("ROLLED_BACK", reason, first)
    assert words in done.detail
    assert await agent.accuracy() == 1.0
    assert children_of(agent.pid) == []
    await agent.stop()


async def test_a_process_of_a_model_that_is_killed_for_memory_ends_the_trial(
    fleet: Fleet, maker: Maker, folder: NodeFolder
) -> None:
    first, second = maker.artifact("first"), maker.artifact("second", weights=good_weights() * 2)
    maker.install(folder, first)
    agent = await (await AgentProcess.start(folder.root)).ready()
    await want(fleet, second, 2, LONG)
    await reported(fleet, 2, "PROBATION", serving=second)
    (child,) = children_of(agent.pid)
    assert Path(f"/proc/{child}/oom_score_adj").read_text().strip() == "1000"
    os.kill(child, signal.SIGKILL)  # as the kernel does
    done = await reported(fleet, 2, "ROLLED_BACK", "SUCCEEDED", "FAILED")
    assert (done.state, done.reason, done.serving) == ("ROLLED_BACK", "runtime-crash", first)
    assert "SIGKILL: killed, for want of memory perhaps" in done.detail
    assert await agent.accuracy() == 1.0
    await agent.stop()


async def test_a_first_model_that_crashes_is_taken_out_and_the_node_lives(fleet: Fleet, maker: Maker, folder: NodeFolder) -> None:
    agent = await (await AgentProcess.start(folder.root)).ready()
    trapped = maker.artifact("trapped", trap="crash")
    await want(fleet, trapped, 1, LONG)
    await reported(fleet, 1, "PROBATION", serving=trapped)
    assert (await agent.infer(glaring()))[0] == 503
    done = await reported(fleet, 1, "ROLLED_BACK", "SUCCEEDED", "FAILED")
    assert (done.reason, done.serving) == ("runtime-crash", "")
    good = maker.artifact("good")
    await want(fleet, good, 2)
    assert (await reported(fleet, 2, "SUCCEEDED", "FAILED", "ROLLED_BACK")).serving == good
    assert await agent.accuracy() == 1.0
    assert children_of(agent.pid) == []  # what has passed runs in the agent itself
    assert agent.rss_bytes() < 100_000_000
    assert await agent.stop() == 0
    assert agent.noise == []
