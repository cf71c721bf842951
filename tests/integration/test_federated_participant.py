"""The node's part with its real worker process: training, caching, crashes, and that it ends when nobody wants it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, RecordDict

from littoral import codec
from littoral.architectures import build
from littoral.fleet.v1.session_pb2 import FederatedReply, FederatedTask
from littoral.flower_private import become_server, from_bytes, name_message, number_of, to_bytes
from littoral_cloud.store.blobs import BlobFolder
from littoral_node.federation.participant import Participant
from littoral_node.federation.warm import TrainingFailed, WarmWorker
from tests.kit.federation import CLASSES, INPUT, SPEC, FolderChannel, write_examples
from tests.kit.patience import PATIENCE_S
from tests.kit.workers import child_of_this_process, ended

CONFIG = {
    "model": "corners",
    "architecture": json.dumps(SPEC),
    "input": json.dumps(INPUT),
    "classes": CLASSES,
    "server-round": 1,
    "local-epochs": 2,
    "learning-rate": 1e-2,
    "batch-size": 16,
    "seed": 3,
    "calibration": 1.0,
    "freeze-head": True,
}


def message_bytes(id: str, **config: object) -> bytes:
    become_server("r")
    torch.manual_seed(1)
    net = build(SPEC, channels=1, height=8, width=8, classes=CLASSES)
    content = RecordDict({"arrays": ArrayRecord(net.state_dict()), "config": ConfigRecord({**CONFIG, **config})})
    message = Message(content, number_of("n"), MessageType.TRAIN)
    name_message(message, id)
    return to_bytes(message)


class Node:
    def __init__(self, root: Path) -> None:
        self.blobs = BlobFolder(root / "blobs")
        self.labelled = root / "labelled"
        self.state = root / "state"
        self.replies: asyncio.Queue[FederatedReply] = asyncio.Queue()
        write_examples(self.labelled, seed=1)

    def participant(self) -> Participant:
        return Participant(FolderChannel(self.blobs), self.labelled, self.state, self.replies.put_nowait)

    def task(self, id: str, **config: object) -> FederatedTask:
        data = message_bytes(id, **config)
        return FederatedTask(run_id="r", message_id=id, message_digest=self.blobs.put(data), message_bytes=len(data), round=1)

    async def reply(self) -> FederatedReply:
        async with asyncio.timeout(PATIENCE_S):
            return await self.replies.get()


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


@pytest.fixture
async def participant(node: Node) -> AsyncIterator[Participant]:
    made = node.participant()
    yield made
    await made.close()


@pytest.mark.slow
async def test_a_task_is_trained_once_and_answered_as_often_as_it_comes(node: Node, participant: Participant) -> None:
    task = node.task("r.1.train.n")
    await participant.reconcile(task)
    first = await node.reply()
    assert (first.failure, first.message_id) == ("", "r.1.train.n")
    reply = from_bytes(node.blobs.read(first.reply_digest))
    assert reply.metadata.reply_to_message_id == "r.1.train.n"
    assert reply.content["metrics"]["num-examples"] == 48  # of 60, every fifth is held out
    before = from_bytes(node.blobs.read(task.message_digest)).content["arrays"].to_torch_state_dict()
    after = reply.content["arrays"].to_torch_state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert "features.conv1.weight" in changed
    assert not changed & {"classify.weight", "classify.bias"}  # the head is frozen
    assert not {name for name in changed if "running" in name or "num_batches" in name}  # so are the statistics

    # The worker is gone and the agent is a new one: the answer is on the disk all the same.
    await participant.close()
    again = node.participant()
    await again.reconcile(task)
    assert await node.reply() == first
    assert again.worker_pid is None
    [kept] = [path for path in (node.state / "replies").rglob("*") if path.is_file()]
    kept.write_bytes(kept.read_bytes()[:-9])  # what the disk cut is not said: it is trained again, to the same weights
    await again.reconcile(task)
    trained = from_bytes(node.blobs.read((await node.reply()).reply_digest)).content["arrays"].to_torch_state_dict()
    assert all(torch.equal(trained[name], after[name]) for name in after)
    await again.reconcile(None)
    assert not list((node.state / "replies").iterdir())
    await again.close()


@pytest.mark.slow
async def test_a_coded_task_is_answered_coded_and_the_cached_answer_is_the_same(node: Node, participant: Participant) -> None:
    message = codec.encode(message_bytes("r.1.train.n"), quick=True)
    task = FederatedTask(
        run_id="r", message_id="r.1.train.n", message_digest=node.blobs.put(message), message_bytes=len(message), round=1
    )
    await participant.reconcile(task)
    first = await node.reply()
    coded = node.blobs.read(first.reply_digest)
    reply = from_bytes(codec.decode(coded, limit=1_000_000))
    assert reply.metadata.reply_to_message_id == "r.1.train.n"
    await participant.reconcile(task)
    assert await node.reply() == first
    damaged = message[:-20]
    task = FederatedTask(
        run_id="r", message_id="r.2.train.n", message_digest=node.blobs.put(damaged), message_bytes=len(damaged), round=2
    )
    await participant.reconcile(task)
    assert (await node.reply()).failure == "bad-coding"


async def test_what_cannot_be_trained_is_a_failure_with_a_code_and_the_worker_stays_warm(
    node: Node, participant: Participant
) -> None:
    await participant.reconcile(node.task("r.1.train.n", classes=2))
    reply = await node.reply()
    assert reply.failure == "training-failed"
    assert "size mismatch" in reply.detail
    pid = participant.worker_pid
    assert pid is not None
    (node.labelled / "bad.npz").write_bytes(b"PK broken")
    await participant.reconcile(node.task("r.2.train.n"))
    reply = await node.reply()
    assert (reply.failure, participant.worker_pid) == ("bad-data", pid)
    assert "bad.npz" in reply.detail


async def test_a_worker_that_is_killed_is_started_again_once_and_then_the_task_fails(
    node: Node, participant: Participant
) -> None:
    await participant.reconcile(node.task("r.1.train.n", **{"local-epochs": 100}))
    for _ in range(2):
        async with asyncio.timeout(PATIENCE_S):
            pid = await child_of_this_process("littoral_node.federation.worker")
            os.kill(pid, signal.SIGKILL)
            await ended(pid)
    reply = await node.reply()
    assert reply.failure == "worker-died"
    assert "SIGKILL" in reply.detail
    assert "worker.log" in reply.detail


async def test_another_task_and_none_make_what_is_under_way_void(node: Node, participant: Participant) -> None:
    await participant.reconcile(node.task("r.1.train.n", **{"local-epochs": 100}))
    await participant.reconcile(node.task("r.2.train.n"))
    assert (await node.reply()).message_id == "r.2.train.n"
    await participant.reconcile(node.task("r.3.train.n", **{"local-epochs": 100}))
    await participant.reconcile(None)
    assert participant.worker_pid is None
    assert node.replies.empty()


async def test_a_worker_that_gets_no_message_says_so_and_stays(node: Node) -> None:
    worker = WarmWorker(node.labelled, node.state)
    for _ in range(2):
        with pytest.raises(TrainingFailed, match="not a Flower message") as failed:
            await worker.train(b"\xff\xff")
        assert failed.value.code == "bad-input"
    worker.end()
    assert worker.pid is None


def test_the_agents_side_imports_neither_torch_nor_flower() -> None:
    heavy = "{'torch', 'flwr', 'pydantic', 'typer', 'rich'}"
    code = f"import sys, littoral_node.federation.participant; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
