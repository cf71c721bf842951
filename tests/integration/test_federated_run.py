"""A federated run from end to end: real Redis, the controller and its worker as real processes, real training on two nodes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from littoral.architectures import build
from littoral.preparation import Input
from littoral_cloud.app import Core, open_core
from littoral_cloud.federation.run import Run, RunState, create_run, read_run, stop_run
from littoral_cloud.settings import load_settings
from littoral_cloud.training.weights import arrays_from, arrays_of, module_of, weights_bytes
from littoral_node.federation.labelled import read_labelled
from littoral_node.federation.training import judge
from tests.kit.federation import CLASSES, INPUT, SPEC, bridged, enrol, small_run, write_examples
from tests.kit.patience import PATIENCE_S

SIZE = {"channels": 1, "height": 8, "width": 8, "classes": CLASSES}


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[Core]:
    async with open_core(load_settings(data_dir=tmp_path / "cloud")) as opened:
        yield opened


@asynccontextmanager
async def keeper(core: Core) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.kit.run_keeper", str(core.settings.data_dir), stdin=asyncio.subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
            await process.wait()


async def run_when(core: Core, run_id: str, look: Callable[[Run], bool]) -> Run:
    async with asyncio.timeout(PATIENCE_S), core.ledger.watch("run") as news:
        while True:
            run = await read_run(core.ledger, run_id)
            if look(run):
                return run
            await anext(news)


async def a_run(core: Core, run_id: str) -> Run:
    torch.manual_seed(1)
    data = weights_bytes(arrays_of(build(SPEC, **SIZE)))
    return await create_run(core.ledger, small_run(run_id, core.blobs.put(data), created_at=core.clock()), actor="test")


def children_of(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def ended(pid: int) -> None:
    """Waits for the end of a process that need not be our child."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().add_reader(descriptor, lambda: gone.done() or gone.set_result(None))
        async with asyncio.timeout(PATIENCE_S):
            await gone
    finally:
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)


@pytest.mark.slow
async def test_a_run_goes_on_from_the_last_finished_round_after_its_coordinator_was_killed(core: Core, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        nodes = []
        for index, name in enumerate(("n-a", "n-b")):
            write_examples(tmp_path / name / "labelled", seed=index)
            nodes.append(
                await stack.enter_async_context(
                    bridged(core.ledger, core.blobs, name, tmp_path / name / "labelled", tmp_path / name / "state")
                )
            )
        await a_run(core, "r-1")
        async with keeper(core) as first:
            await run_when(core, "r-1", lambda run: run.done == 1 and run.open_round is not None)
            (worker,) = children_of(first.pid)
            first.send_signal(signal.SIGKILL)
            await first.wait()
            await ended(worker)  # with its parent, by the kernel
        halfway = await read_run(core.ledger, "r-1")
        assert halfway.done < halfway.rounds
        async with keeper(core):
            run = await run_when(core, "r-1", lambda run: run.state.terminal)
            # The nodes' tasks are taken back, so that their workers end.
            async with asyncio.timeout(PATIENCE_S), core.ledger.watch("desired") as news:
                while any(doc.body["federated"] for doc in await core.ledger.all("desired")):
                    await anext(news)

        assert (run.state, run.reason, run.detail) == (RunState.SUCCEEDED, "", "")
        assert [r.number for r in run.finished] == [1, 2, 3]
        assert run.participants == ("n-a", "n-b")
        assert run.bytes_down > 0
        assert run.bytes_up > 0
        # Each node was given each message once: what it had trained before the kill came from its cache.
        for node in nodes:
            assert len(node.workers) == 1  # one warm process for all rounds
            assert [task.message_id for task in node.tasks] == [f"r-1.{n}.train.{node.node_id}" for n in (1, 2, 3)]
        actions = [entry.action for entry in await core.ledger.audit() if entry.subject == "r-1"]
        assert actions.count("round.finished") == 3
        assert actions[0] == "run.created"
        assert actions[-1] == "run.succeeded"

        given = Input("input", (1, 8, 8), INPUT["scale"], (0.5,), (0.25,))  # type: ignore[arg-type]
        x, y = read_labelled(tmp_path / "n-a" / "labelled", given.shape)
        accuracies = []
        for digest in (run.base_weights, run.weights):
            net = module_of(SPEC, arrays_from(core.blobs.read(digest)), **SIZE)
            accuracies.append(judge(net, given.prepare(x), np.asarray(y))[1])
        assert accuracies[1] > accuracies[0]
    for pid in {pid for node in nodes for pid in node.workers}:
        await ended(pid)


async def test_a_run_that_is_stopped_ends_its_worker_and_the_tasks_of_nodes_that_never_reply(core: Core) -> None:
    for name in ("n-a", "n-b"):
        await enrol(core.ledger, name)
    await a_run(core, "r-2")
    async with keeper(core) as controller:
        async with asyncio.timeout(PATIENCE_S), core.ledger.watch("desired") as news:
            while len([doc for doc in await core.ledger.all("desired") if doc.body["federated"]]) < 2:
                await anext(news)
        (worker,) = children_of(controller.pid)
        await stop_run(core.ledger, "r-2", core.clock(), actor="ada")
        await ended(worker)
        async with asyncio.timeout(PATIENCE_S), core.ledger.watch("desired") as news:
            while any(doc.body["federated"] for doc in await core.ledger.all("desired")):
                await anext(news)
    run = await read_run(core.ledger, "r-2")
    assert (run.state, run.reason, run.detail) == (RunState.FAILED, "stopped", "by ada")
    assert [e.action for e in await core.ledger.audit() if e.subject == "r-2" and e.actor == "ada"] == ["run.stopped"]
