"""Nodes of a federated run without a session between: the ledger's words go straight to a real Participant and back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from littoral.fleet.v1.session_pb2 import FederatedReply, FederatedTask
from littoral.flower_private import become_server
from littoral_cloud.api.wire import desired_to
from littoral_cloud.federation.run import FinishedRound, Run
from littoral_cloud.fleet.ledger import Change, Ledger, Write
from littoral_cloud.fleet.records import Enrolment, Node, Presence, dump
from littoral_cloud.fleet.sessions import FederatedAnswer, desired_of, note_answer
from littoral_cloud.store.blobs import BlobFolder
from littoral_node.federation.participant import Participant


class ConnectedNodes:
    """What a strategy asks a Grid before it sends: which nodes there are."""

    def get_node_ids(self) -> list[int]:
        return list(range(1, 11))


def send(strategy: Strategy, arrays: ArrayRecord) -> None:
    """The strategy's first round begins: it makes its messages with these arrays."""
    become_server("r")
    assert strategy.configure_train(1, arrays, ConfigRecord(), cast(Grid, ConnectedNodes()))


SPEC = {"name": "compact_cnn", "widths": [4, 6]}
INPUT = {"shape": [1, 8, 8], "scale": 1 / 255, "mean": [0.5], "std": [0.25]}
CLASSES = 3


async def enrol(ledger: Ledger, node_id: str, *, connected: bool = True, examples: int = 60, coded: bool = True) -> None:
    node = Node(
        node_id=node_id,
        name=node_id,
        enrolment=Enrolment.ACCEPTED,
        public_key_sha256="",
        certificate_sha256="",
        certificate_expires_at=4e9,
        enrolled_at=0.0,
    )
    presence = Presence(
        connected=connected,
        since=0.0,
        boot_id="",
        agent_version="",
        protocol_version=1,
        features=("federated", "coded-messages") if coded else ("federated",),
        hardware={},
        hardware_class="",
        runtimes=(),
        budgets={},
        labelled_examples={"": examples},
    )
    await ledger.commit(Change((Write("node", node_id, dump(node), None), Write("presence", node_id, dump(presence), None))))


def write_examples(folder: Path, seed: int, count: int = 60) -> None:
    """Squares in one of three corners: learnt in a moment."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, CLASSES, count)
    x = rng.integers(0, 60, (count, 8, 8)).astype(np.uint8)
    for i, label in enumerate(y):
        row, column = ((0, 0), (0, 4), (4, 0))[label]
        x[i, row : row + 4, column : column + 4] += 180
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "examples.npz", x=x, y=y)


def small_run(run_id: str, base_weights: str, **fields: object) -> Run:
    values: dict[str, object] = {
        "run_id": run_id,
        "model": "corners",
        "strategy": "fedavg",
        "rounds": 3,
        "local_epochs": 1,
        "learning_rate": 1e-2,
        "batch_size": 16,
        "seed": 5,
        "architecture": SPEC,
        "input": INPUT,
        "classes": CLASSES,
        "base_weights": base_weights,
        "round_timeout_s": 60.0,
        **fields,
    }
    return Run(**values)  # type: ignore[arg-type]


def finished(
    *accuracies: float | None, nodes: tuple[str, ...] = ("a", "b"), weights: str = "sha256:" + "0" * 64
) -> tuple[FinishedRound, ...]:
    """Rounds in whose beginning the nodes judged the model so."""
    return tuple(
        FinishedRound(
            number=number,
            seconds=1.0,
            weights=weights,
            participants=nodes,
            failed={},
            bytes_down=1,
            bytes_up=1,
            metrics={} if accuracy is None else {"accuracy_before": accuracy},
        )
        for number, accuracy in enumerate(accuracies, 1)
    )


@dataclass(slots=True)
class FolderChannel:
    """littoral_node.transfer.blobs.Blobs where both ends share a disk."""

    blobs: BlobFolder

    async def get(self, digest: str, size: int | None = None) -> Path:
        return self.blobs.path(digest)

    async def put(self, data: bytes) -> str:
        return self.blobs.put(data)

    def drop(self, digest: str) -> None:
        """The shared blob stays: it is the cloud's."""


@dataclass(slots=True)
class BridgedNode:
    node_id: str
    participant: Participant
    replies: asyncio.Queue[FederatedReply]
    tasks: list[FederatedTask] = field(default_factory=list)  # as they came
    workers: set[int] = field(default_factory=set)  # pids that answered


@asynccontextmanager
async def bridged(ledger: Ledger, blobs: BlobFolder, node_id: str, labelled: Path, state: Path) -> AsyncIterator[BridgedNode]:
    """A node that is accepted and connected and does what it is told, until the context ends."""
    replies: asyncio.Queue[FederatedReply] = asyncio.Queue()
    node = BridgedNode(node_id, Participant(FolderChannel(blobs), labelled, state, replies.put_nowait), replies)

    async def listen() -> None:
        async with ledger.watch("desired") as news:
            while True:
                _, desired = await desired_of(ledger, node_id)
                task = desired_to(1, desired).federated if desired.federated else None
                if task is not None and task not in node.tasks:
                    node.tasks.append(task)
                await node.participant.reconcile(task)
                await anext(news)

    async def speak() -> None:
        while True:
            reply = await replies.get()
            if node.participant.worker_pid is not None:
                node.workers.add(node.participant.worker_pid)
            answer = FederatedAnswer(reply.run_id, reply.message_id, reply.reply_digest, reply.failure, reply.detail)
            await note_answer(ledger, node_id, answer)

    await enrol(ledger, node_id)
    tasks = [asyncio.create_task(listen()), asyncio.create_task(speak())]
    try:
        yield node
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await node.participant.close()
