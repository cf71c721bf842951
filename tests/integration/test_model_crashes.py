"""Models that crash or hang their runtime, for real: the agent lives, the request is answered, and the cloud hears of it."""

from __future__ import annotations

import asyncio
import http.client
import os
import signal
import socket
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from littoral.digest import hex_of
from littoral.errors import RuntimeFailure
from littoral_cloud.fleet.records import Probation, Reported, load
from littoral_node.identity.folder import NodeFolder
from tests.kit import workers
from tests.kit.agent import MODEL, NODE, AgentProcess, Maker, examples, glaring, good_weights, reported, want
from tests.kit.fleet import Fleet

pytest_plugins = ("tests.kit.redis", "tests.kit.agent_fixture")

LONG = Probation(duration_s=600.0)


def children_of(pid: int) -> list[int]:
    """Of those that run a model."""
    return workers.children_of(pid, "littoral_node.isolated.main")


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
    assert "SIGKILL (killed, perhaps for lack of memory)" in done.detail
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


async def ready(folder: NodeFolder, **environment: str) -> AgentProcess:
    return await (await AgentProcess.start(folder.root, module="tests.kit.mortal_agent", environment=environment)).ready()


async def two_versions(fleet: Fleet, maker: Maker, folder: NodeFolder) -> tuple[str, str]:
    """The first is kept, the second is active; generation 2."""
    first, second = maker.artifact("first"), maker.artifact("second", weights=good_weights() * 2)
    maker.install(folder, first)
    agent = await ready(folder)
    await want(fleet, second, 2)
    assert (await reported(fleet, 2, "SUCCEEDED", "FAILED", "ROLLED_BACK")).previous == first
    assert await agent.stop() == 0
    return first, second


async def incidents(fleet: Fleet) -> list[str]:
    return [str(entry.details["detail"]) for entry in await fleet.ledger.audit() if entry.action == "model.troubled"]


@pytest.mark.slow
async def test_a_model_that_kills_the_agent_as_it_is_loaded_is_given_up_after_three_times(
    fleet: Fleet, maker: Maker, folder: NodeFolder
) -> None:
    first, second = await two_versions(fleet, maker, folder)
    deadly = {"DIE_OF": hex_of(second), "DIE_AT": "load"}
    for _ in range(3):
        dying = await AgentProcess.start(folder.root, module="tests.kit.mortal_agent", environment=deadly)
        assert await dying.ended() == -signal.SIGSEGV
        assert not any(event["event"] == "serving" for event in dying.events)
    agent = await ready(folder, **deadly)  # it would kill it again
    assert await agent.accuracy() == 1.0
    told = await agent.until("agent-crashed")
    assert "counted against it: 3 of 3" in told["detail"]
    done = await reported(fleet, 2, "ROLLED_BACK")
    assert (done.reason, done.serving, done.previous, done.target) == ("crash-loop", first, "", second)
    assert "was loaded; counted against it: 3 of 3" in done.incident
    assert any("3 of 3" in detail for detail in await incidents(fleet))
    assert await agent.stop() == 0
    agent = await ready(folder, **deadly)  # it is not tried again
    await agent.until("serving", manifest=first)
    await reported(fleet, 2, "ROLLED_BACK", serving=first)
    await agent.stop()
    agent = await ready(folder)
    await want(fleet, second, 3)  # unless a new wish asks for it
    assert (await reported(fleet, 3, "SUCCEEDED", "FAILED", "ROLLED_BACK")).serving == second
    await agent.stop()


@pytest.mark.slow
async def test_a_model_that_kills_the_agent_as_it_first_serves_is_given_up_and_one_that_proved_itself_is_not(
    fleet: Fleet, maker: Maker, folder: NodeFolder
) -> None:
    first, second = await two_versions(fleet, maker, folder)
    deadly = {"DIE_OF": hex_of(second), "DIE_AT": "infer"}
    for _ in range(4):  # one more than it takes
        agent = await ready(folder, **deadly, PROVED_S="0.2")
        while f'"{MODEL}": {{"crashes": 0, "manifest_digest": "{second}", "proved": true}}' not in standings(folder):
            assert await agent.accuracy() == 1.0  # it answers, and time passes
        with suppress(OSError, http.client.HTTPException):
            await agent.infer(glaring())
        assert await agent.ended() == -signal.SIGSEGV
    for number in (1, 2, 3):
        agent = await ready(folder, **deadly)
        await agent.until("serving", manifest=second)
        told = (await agent.until("agent-crashed"))["detail"]
        assert ("not counted" if number == 1 else f"counted against it: {number - 1} of 3") in told
        with suppress(OSError, http.client.HTTPException):
            await agent.infer(glaring())
        assert await agent.ended() == -signal.SIGSEGV
    agent = await ready(folder, **deadly)
    await agent.until("serving", manifest=first)
    assert (await agent.infer(glaring()))[0] == 200
    done = await reported(fleet, 2, "ROLLED_BACK")
    assert (done.reason, done.serving) == ("crash-loop", first)
    await agent.stop()


@pytest.mark.slow
async def test_a_deadly_model_without_one_before_it_is_served_from_a_process_of_its_own(
    fleet: Fleet, maker: Maker, folder: NodeFolder
) -> None:
    only = maker.artifact("only")
    maker.install(folder, only)
    deadly = {"DIE_OF": hex_of(only), "DIE_AT": "load"}
    for _ in range(3):
        dying = await AgentProcess.start(folder.root, module="tests.kit.mortal_agent", environment=deadly)
        assert await dying.ended() == -signal.SIGSEGV
    agent = await ready(folder, **deadly)
    assert await agent.accuracy() == 1.0
    (child,) = children_of(agent.pid)
    os.kill(child, signal.SIGSEGV)
    await agent.until("model-crashed")
    while (await agent.infer(examples(1)[0]))[0] != 200:
        pass  # it is begun again
    assert children_of(agent.pid) != [child]
    doc = await fleet.until("reported", NODE)
    assert "served from an isolated process" in load(Reported, doc).problem
    second = maker.artifact("second", weights=good_weights() * 2)
    await want(fleet, second, 2)  # the cloud can still help
    assert (await reported(fleet, 2, "SUCCEEDED", "FAILED", "ROLLED_BACK")).serving == second
    assert children_of(agent.pid) == []
    assert await agent.stop() == 0


@pytest.mark.slow
async def test_an_agent_that_cannot_have_its_port_blames_no_model(fleet: Fleet, maker: Maker, folder: NodeFolder) -> None:
    maker.install(folder, maker.artifact("first"))
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        for _ in range(3):
            agent = await AgentProcess.start(folder.root, "--http", f"127.0.0.1:{busy.getsockname()[1]}")
            assert await agent.ended() == 8
    agent = await (await AgentProcess.start(folder.root)).ready()
    assert not any(event["event"] == "agent-crashed" for event in agent.events)
    assert await agent.accuracy() == 1.0
    await agent.stop()


def standings(folder: NodeFolder) -> str:
    return " ".join((folder.root / "crashes.json").read_text().split()).replace("{ ", "{").replace(" }", "}")


@pytest.mark.slow
async def test_a_model_that_hangs_three_times_after_its_trial_gives_way_to_the_one_before(
    fleet: Fleet, maker: Maker, folder: NodeFolder
) -> None:
    first, trapped = maker.artifact("first"), maker.artifact("trapped", weights=good_weights() * 2, trap="hang")
    maker.install(folder, first)
    agent = await (await AgentProcess.start(folder.root, "--inference-limit", "0.5s")).ready()
    await want(fleet, trapped, 2)
    assert (await reported(fleet, 2, "SUCCEEDED", "FAILED", "ROLLED_BACK")).serving == trapped
    assert children_of(agent.pid) == []
    x, _ = examples(1)
    for number in (1, 2, 3):
        assert (await agent.infer(glaring()))[0] == 503
        assert f"(number {number})" in (await agent.until("model-hung", detail=told(trapped, number)))["detail"]
        assert (await agent.infer(x))[0] == 200
    done = await reported(fleet, 2, "ROLLED_BACK")
    assert (done.reason, done.serving, done.previous, done.hangs) == ("runtime-hang", first, "", 3)
    assert (await agent.infer(glaring()))[0] == 200
    assert await agent.accuracy() == 1.0
    assert told(trapped, 1) in await incidents(fleet)
    assert await agent.stop() == 0
    agent = await (await AgentProcess.start(folder.root)).ready()
    assert (await agent.until("serving"))["manifest"] == first
    await agent.stop()


def told(digest: str, number: int) -> str:
    return f"{MODEL}: {digest[:19]} took longer than 0.5 s for an inference (number {number})"


async def test_a_node_answers_before_it_knows_what_its_machine_is_and_before_it_reaches_the_cloud(
    fleet: Fleet, maker: Maker, folder: NodeFolder, tmp_path: Path
) -> None:
    first = maker.artifact("first")
    maker.install(folder, first)
    slow = tmp_path / "path" / "ncnn"
    slow.mkdir(parents=True)
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    (slow / "__init__.py").write_text(f"open({str(gate)!r}).read()\n__version__ = '1'\n")  # its import waits for us
    path = f"{tmp_path / 'path'}:{os.environ.get('PYTHONPATH', '')}"
    agent = await (await AgentProcess.start(folder.root, environment={"PYTHONPATH": path})).ready()
    assert await agent.accuracy() == 1.0
    assert not any(event["event"] == "session-open" for event in agent.events)
    await asyncio.to_thread(gate.write_text, "")
    await agent.until("session-open")
    await want(fleet, maker.artifact("second", weights=good_weights() * 2), 2)
    assert (await reported(fleet, 2, "SUCCEEDED", "FAILED", "ROLLED_BACK")).state == "SUCCEEDED"
    assert await agent.stop() == 0


@pytest.mark.slow
async def test_what_a_runtime_cannot_end_ends_the_agent_and_the_third_time_the_model_is_given_up(
    fleet: Fleet, maker: Maker, folder: NodeFolder
) -> None:
    first, second = await two_versions(fleet, maker, folder)
    stuck = {"DIE_OF": hex_of(second), "DIE_AT": "stuck", "LITTORAL_NODE_INFERENCE_LIMIT": "0.5s"}
    for number in (1, 2, 3):
        agent = await ready(folder, **stuck)
        await agent.until("serving", manifest=second)
        if number > 1:
            assert f"hung; counted against it: {number - 1} of 3" in (await agent.until("agent-crashed"))["detail"]
        with suppress(OSError, http.client.HTTPException):
            await agent.infer(glaring())
        assert await agent.ended() == RuntimeFailure.exit_code
        await agent.until("runtime-stuck", manifest=second)
    agent = await ready(folder, **stuck)
    assert (await agent.infer(glaring()))[0] == 200
    done = await reported(fleet, 2, "ROLLED_BACK")
    assert (done.reason, done.serving) == ("crash-loop", first)
    await agent.stop()
