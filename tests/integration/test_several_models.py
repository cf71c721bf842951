"""Several models on one real agent: each has its own update, probation, way back, slots and telemetry; none disturbs another."""

from __future__ import annotations

import asyncio
import signal

import numpy as np
import pytest

from littoral_cloud.fleet.records import Probation
from littoral_node.identity.folder import NodeFolder
from tests.kit.agent import QUICK, AgentProcess, Maker, examples, good_weights
from tests.kit.fleet import Fleet
from tests.kit.several import counted, reported, until, want

pytest_plugins = ("tests.kit.redis", "tests.kit.agent_fixture")

LONG = Probation(duration_s=600.0, max_failure_rate=0.2)
GLARING = np.full((1, 4, 4), 255, np.uint8)  # makes a fragile model fail


async def test_one_model_is_rolled_back_while_another_answers_every_request(
    fleet: Fleet, maker: Maker, folder: NodeFolder
) -> None:
    digits, faces = maker.artifact("digits-1", model="digits"), maker.artifact("faces-1", model="faces")
    agent = await (await AgentProcess.start(folder.root)).ready()
    await want(fleet, digits=(digits, 1, QUICK), faces=(faces, 1, QUICK))
    done = await reported(fleet, digits=1, faces=1)
    assert {name: (model.state, model.serving) for name, model in done.items()} == {
        "digits": ("SUCCEEDED", digits),
        "faces": ("SUCCEEDED", faces),
    }
    statuses: list[int] = []
    over = asyncio.Event()

    async def ask() -> None:
        while not over.is_set():
            statuses.append((await agent.infer(examples(2)[0], "faces"))[0])

    asking = asyncio.create_task(ask())
    fragile = maker.artifact("digits-2", model="digits", fragile=True)
    await want(fleet, digits=(fragile, 2, LONG), faces=(faces, 1, QUICK))
    await until(fleet, {"digits": (2, ("PROBATION",))}, digits=fragile)
    for _ in range(5):
        assert (await agent.infer(GLARING, "digits"))[0] == 500
    done = await reported(fleet, digits=2, faces=1)
    over.set()
    await asking
    assert (done["digits"].state, done["digits"].reason, done["digits"].serving) == ("ROLLED_BACK", "failure-rate", digits)
    assert (done["faces"].state, done["faces"].serving, done["faces"].previous) == ("SUCCEEDED", faces, "")
    assert len(statuses) > 10
    assert set(statuses) == {200}
    assert (await counted(fleet, "digits", 5)).failed_requests == 5
    assert (await counted(fleet, "faces", len(statuses))).failed_requests == 0
    await agent.stop()


async def test_an_agent_killed_in_the_middle_of_two_updates_finishes_both(fleet: Fleet, maker: Maker, folder: NodeFolder) -> None:
    first = {name: maker.artifact(f"{name}-1", model=name) for name in ("digits", "faces")}
    second = {name: maker.artifact(f"{name}-2", model=name, weights=good_weights() * 2) for name in first}
    for digest in first.values():
        maker.install(folder, digest)
    agent = await (await AgentProcess.start(folder.root)).ready()
    await want(fleet, digits=(second["digits"], 2, LONG), faces=(second["faces"], 2, LONG))
    await until(fleet, {name: (2, ("PROBATION",)) for name in first}, **second)
    await agent.kill()

    agent = await (await AgentProcess.start(folder.root)).ready()
    for name, digest in first.items():
        await agent.until("serving", model=name, manifest=digest)  # what was proved serves at once
        assert (await agent.infer(examples(2)[0], name))[0] == 200
    await until(fleet, {name: (2, ("PROBATION",)) for name in first})
    await want(fleet, digits=(second["digits"], 3, QUICK), faces=(second["faces"], 3, QUICK))
    done = await reported(fleet, digits=3, faces=3)
    for name in first:
        assert (done[name].state, done[name].serving, done[name].previous) == ("SUCCEEDED", second[name], first[name])
    assert await agent.stop() == 0


@pytest.mark.slow
async def test_a_model_that_crashes_the_agent_in_both_updates_takes_only_itself_back(
    fleet: Fleet, maker: Maker, folder: NodeFolder
) -> None:
    """The agent is killed as one model's step begins, three times over: the other model's update ends well."""
    first = {name: maker.artifact(f"{name}-1", model=name) for name in ("digits", "faces")}
    second = {name: maker.artifact(f"{name}-2", model=name, weights=good_weights() * 2) for name in first}
    for digest in first.values():
        maker.install(folder, digest)
    await want(fleet, digits=(second["digits"], 2, QUICK), faces=(second["faces"], 2, QUICK))
    for _ in range(2):
        agent = await (await AgentProcess.start(folder.root, crash_at="before:swap")).ready()
        assert await agent.ended() == -signal.SIGKILL
    agent = await (await AgentProcess.start(folder.root)).ready()
    done = await reported(fleet, digits=2, faces=2)
    assert {name: (done[name].state, done[name].serving) for name in first} == {
        name: ("SUCCEEDED", second[name]) for name in first
    }
    assert await agent.stop() == 0
