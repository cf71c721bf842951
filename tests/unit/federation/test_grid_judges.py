"""Rounds over a real ledger with nodes that a test plays: a bad reply is its node's failure, and nobody else's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict

from littoral.flower_private import from_bytes, to_bytes
from littoral_cloud.federation.exchange import QuorumMissed
from littoral_cloud.federation.grid import FleetGrid
from littoral_cloud.federation.participants import following
from littoral_cloud.federation.run import Run, create_run, read_run, started, update_run
from littoral_cloud.federation.strategies import Sampling, build_strategy
from littoral_cloud.fleet.admitting import revoke
from littoral_cloud.fleet.ledger import Ledger
from littoral_cloud.fleet.sessions import FederatedAnswer, desired_of, note_answer
from littoral_cloud.store.blobs import BlobFolder
from littoral_cloud.training.weights import arrays_from
from tests.kit.federation import enrol, small_run

pytest_plugins = ("tests.kit.redis",)

Answer = Callable[[int], tuple[list[float], dict[str, Any]]]
"""The weights and metrics that a node answers in a round."""


@pytest.fixture
def blobs(tmp_path: Path) -> BlobFolder:
    return BlobFolder(tmp_path / "blobs")


def honest(value: float) -> Answer:
    return lambda _: ([value] * 3, {"num-examples": 10, "train_loss": 0.1})


def ill(_: int) -> tuple[list[float], dict[str, Any]]:
    return [float("nan")] * 3, {"num-examples": 10, "train_loss": 0.1}


def boasting(_: int) -> tuple[list[float], dict[str, Any]]:
    return [2.0] * 3, {"num-examples": 61, "train_loss": 0.1}


@asynccontextmanager
async def node(
    ledger: Ledger, blobs: BlobFolder, name: str, answer: Answer, waits: asyncio.Event | None = None
) -> AsyncIterator[list[int]]:
    """The rounds that it was asked in. `waits`: before each answer."""
    asked: list[int] = []

    async def play() -> None:
        async with ledger.watch("desired") as news:
            while True:
                task = (await desired_of(ledger, name))[1].federated
                if task is not None and task.round not in asked:
                    asked.append(task.round)
                    if waits is not None:
                        await waits.wait()
                    weights, metrics = answer(task.round)
                    arrays = ArrayRecord({"w": Array(np.array(weights, np.float32))})
                    content = RecordDict({"arrays": arrays, "metrics": MetricRecord(metrics)})
                    reply = to_bytes(Message(content, reply_to=from_bytes(blobs.read(task.message_digest))))
                    await note_answer(ledger, name, FederatedAnswer("r", task.message_id, blobs.put(reply), "", ""))
                await anext(news)

    await enrol(ledger, name, coded=False)
    player = asyncio.create_task(play())
    try:
        yield asked
    finally:
        player.cancel()
        await asyncio.gather(player, return_exceptions=True)


async def held(ledger: Ledger, blobs: BlobFolder, *, rounds: int = 3) -> Run:
    """A run over the nodes that are there, from zeros; the quorum is two."""
    await create_run(ledger, small_run("r", blobs.put(b"base"), rounds=rounds), actor="test")
    run = await update_run(ledger, "r", lambda run: started(run, 1.0))
    loop, zeros = asyncio.get_running_loop(), ArrayRecord({"w": Array(np.zeros(3, np.float32))})
    async with following(ledger) as participants:
        grid = FleetGrid(ledger, blobs, run, fence=None, participants=participants, clock=lambda: 0.0, loop=loop)
        strategy = build_strategy("fedavg", Sampling(), seed=1, first_round=1, on_round=grid.round_finished, grid_judges=True)
        await asyncio.to_thread(strategy.start, grid=grid, initial_arrays=zeros, num_rounds=rounds, timeout=60.0)
    return await read_run(ledger, "r")


async def test_a_bad_reply_is_its_nodes_failure_and_two_in_a_row_end_its_part(ledger: Ledger, blobs: BlobFolder) -> None:
    async with AsyncExitStack() as stack:
        parts = {"a": honest(1.0), "b": honest(3.0), "ill": ill, "late": boasting}
        asked = {name: await stack.enter_async_context(node(ledger, blobs, name, answer)) for name, answer in parts.items()}
        run = await held(ledger, blobs)
    bad = {"ill": "not-finite", "late": "bad-examples"}
    assert [dict(r.failed) for r in run.finished] == [bad, bad, {}]
    assert {r.participants for r in run.finished} == {("a", "b")}
    assert arrays_from(blobs.read(run.weights))["w"].tolist() == [2.0, 2.0, 2.0]
    assert asked == {"a": [1, 2, 3], "b": [1, 2, 3], "ill": [1, 2], "late": [1, 2]}
    lines = [(a.action, a.subject, a.details["code"]) for a in await ledger.audit() if a.action.startswith("node.")]
    assert sorted(lines) == sorted(
        [("node.round-failed", name, code) for name, code in bad.items()] * 2 + [("node.sits-out", n, c) for n, c in bad.items()]
    )


async def test_a_round_that_bad_replies_take_below_its_quorum_says_whose_and_why(ledger: Ledger, blobs: BlobFolder) -> None:
    async with node(ledger, blobs, "a", honest(1.0)), node(ledger, blobs, "ill", ill):
        with pytest.raises(QuorumMissed, match=r"round 1: 1 of 2 nodes replied well, 2 are needed \(ill: not-finite\)"):
            await held(ledger, blobs)


async def test_the_reply_of_a_node_that_was_taken_out_meanwhile_is_not_in_the_model(ledger: Ledger, blobs: BlobFolder) -> None:
    async def out_after_its_answer() -> None:
        async with ledger.watch("federated_reply") as news:
            while await ledger.get("federated_reply", "r.1.train.out") is None:
                await anext(news)
        await revoke(ledger, "out", reason="", actor="ann")
        held_back.set()

    held_back = asyncio.Event()
    async with AsyncExitStack() as stack:
        for name, value in {"a": 1.0, "b": 3.0, "out": 50.0}.items():
            await stack.enter_async_context(node(ledger, blobs, name, honest(value), held_back if name == "b" else None))
        outing = asyncio.create_task(out_after_its_answer())
        run = await held(ledger, blobs, rounds=1)
        await outing
    assert dict(run.finished[0].failed) == {"out": "revoked"}
    assert arrays_from(blobs.read(run.weights))["w"].tolist() == [2.0, 2.0, 2.0]
