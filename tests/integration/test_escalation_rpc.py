"""Questions of nodes at a real listener: who is answered, and what is refused; and the process in which teachers answer."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import torch

from littoral.architectures import build
from littoral.digest import digest_of
from littoral.errors import BadInput, RuntimeFailure
from littoral.fleet.v1 import escalation_pb2, escalation_pb2_grpc
from littoral.lineage import BASE, DATA, TEACHER, WEIGHTS, Lineage
from littoral.offload import softmax
from littoral.preparation import Input
from littoral_cloud.fleet.records import load
from littoral_cloud.packaging.package import Packaged
from littoral_cloud.releases.catalogue import publish
from littoral_cloud.releases.teacher_records import StoredTeacher, TeacherMissing, Voice, keep, teacher_of
from littoral_cloud.releases.teacher_store import described
from littoral_cloud.store.blobs import BlobFolder
from littoral_cloud.teacher_service.process import TeacherProcess
from littoral_cloud.teacher_service.samples import SampleFiles
from littoral_cloud.teacher_service.service import Escalation, EscalationCount, TeacherService, TeacherStarting
from littoral_cloud.teachers.teacher import Ensemble, NetworkTeacher
from littoral_cloud.training.train import Trained
from littoral_node.identity.folder import NodeFolder
from tests.kit.agent import CLASSES, NODE, QUICK, SHAPE, AgentProcess, Maker, examples, good_weights, onnx_bytes
from tests.kit.fleet import Fleet
from tests.kit.several import reported, want
from tests.kit.workers import child_of_this_process

pytest_plugins = ("tests.kit.redis", "tests.kit.agent_fixture")

SPEC = {"name": "perceptron", "widths": [8]}
TEACHERS = digest_of(b"teacher")  # as lineage names it
KEPT = StoredTeacher(name="t", shape=SHAPE, classes=CLASSES, voices=(Voice(weights="", scale=1.0, mean=(0.0,), std=(1.0,)),))
GIVEN = Input("input", SHAPE, 1 / 255, (0.1,), (0.5,))


def network(seed: int) -> NetworkTeacher:
    torch.manual_seed(seed)
    module = build(SPEC, channels=1, height=4, width=4, classes=CLASSES)
    return NetworkTeacher.of(Trained.of(f"t{seed}", module, SPEC, GIVEN, 0.0))


@asynccontextmanager
async def answering(fleet: Fleet, folder: Path, maker: Maker) -> AsyncIterator[None]:
    """The listener's questions are answered by `Rule`."""
    teachers = TeacherService(fleet.ledger, fleet.blobs, maker.signing_keys, Rule(), SampleFiles(folder / "samples"), fleet.clock)
    fleet.escalation.teachers = teachers
    try:
        yield
    finally:
        await teachers.close()


class Rule:
    """Answers at once, by the lit column: a teacher whose process is not at stake."""

    starting = False

    async def begin(self) -> None:
        return

    async def ask(self, digest: str, kept: StoredTeacher, x: np.ndarray) -> np.ndarray:
        return (x.reshape(len(x), 4, 4)[:, :, :CLASSES].mean(axis=1) / 10).astype(np.float32)


async def with_teacher(fleet: Fleet, maker: Maker, name: str, roles: tuple[tuple[str, str], ...], weights: str = "") -> str:
    """An artifact that the coordinator knows, made from these parents; its digest."""
    file = onnx_bytes(good_weights(), note=name)
    manifest = maker.manifest(name, good_weights(), file)
    lineage = Lineage(tuple(role for role, _ in roles), 1, 1, {}, "")
    manifest = replace(manifest, parents=tuple(digest for _, digest in roles), lineage=lineage)

    class Core:
        ledger, blobs = fleet.ledger, fleet.blobs

        class trust:
            signing_key = maker.key

    made = await publish(Core, Packaged(manifest, {"model.onnx": file}), 1.0, weights=weights.encode())
    return made.manifest_digest


async def test_the_teacher_is_found_over_federated_generations(fleet: Fleet, maker: Maker) -> None:
    await keep(fleet.ledger, TEACHERS, KEPT)
    data = (DATA, digest_of(b"data"))
    first = await with_teacher(
        fleet, maker, "first", (data, (WEIGHTS, digest_of(b"first weights")), (TEACHER, TEACHERS)), "first weights"
    )
    learnt = await with_teacher(fleet, maker, "learnt", (data, (BASE, digest_of(b"first weights"))), "learnt weights")
    again = await with_teacher(fleet, maker, "again", (data, (BASE, digest_of(b"learnt weights"))))
    alone = await with_teacher(fleet, maker, "alone", (data,))
    for digest in (first, learnt, again):
        found, described_, artifact = await teacher_of(fleet.ledger, fleet.blobs, maker.signing_keys, digest)
        assert (found, described_, artifact.manifest_digest) == (TEACHERS, KEPT, digest)
    with pytest.raises(TeacherMissing, match="artifact alone"):
        await teacher_of(fleet.ledger, fleet.blobs, maker.signing_keys, alone)


async def test_a_real_agent_gives_its_own_answer_where_nobody_answers_it_and_else_the_teachers(
    fleet: Fleet, maker: Maker, folder: NodeFolder, tmp_path: Path
) -> None:
    flags = ("--offload", "tiny=100%", "--offload-deadline", "20s")
    artifact = await with_teacher(fleet, maker, "joined", ((DATA, digest_of(b"data")), (TEACHER, TEACHERS)))
    x, y = examples(1)
    await want(fleet, tiny=(artifact, 1, QUICK))
    agent = await (await AgentProcess.start(folder.root, *flags)).ready()
    await reported(fleet, tiny=1)
    _, own = await agent.infer(x)
    await agent.until("offload-own-answer", reason="escalation-off")  # the coordinator answers no questions
    await agent.stop()

    async with answering(fleet, tmp_path, maker):
        for known in (False, True):
            if known:
                await keep(fleet.ledger, TEACHERS, KEPT)
            agent = await (await AgentProcess.start(folder.root, *flags)).ready()
            await agent.until("session-open")
            status, given = await agent.infer(x)
            assert (status, int(given.argmax())) == (200, int(y[0]))
            if not known:
                await agent.until("offload-own-answer", reason="teacher-missing")
            assert np.allclose(given, own) is not known
            assert agent.rss_bytes() < 100_000_000, f"{agent.rss_bytes():,} bytes"
            await agent.stop()
    [sample] = list(SampleFiles(tmp_path / "samples").read("tiny"))
    assert (sample["node"], sample["manifest"], sample["teacher"]) == (NODE, artifact, TEACHERS)
    doc = await fleet.ledger.get("escalation", f"{NODE}:tiny")
    assert doc is not None
    assert load(EscalationCount, doc).examples == 1


async def test_questions_that_make_no_sense_and_strangers_are_refused(fleet: Fleet, maker: Maker, tmp_path: Path) -> None:
    await keep(fleet.ledger, TEACHERS, KEPT)
    artifact = await with_teacher(fleet, maker, "joined", ((DATA, digest_of(b"data")), (TEACHER, TEACHERS)))
    credential, stranger = await fleet.enrol("n7"), fleet.authority.issue("nobody", expires_at=4e9)
    good: dict[str, Any] = {
        "model_name": "tiny",
        "manifest_digest": artifact,
        "inputs": bytes(16),
        "datatype": "UINT8",
        "shape": [1, *SHAPE],
        "logits": [0.0] * CLASSES,
        "threshold": 0.5,
    }
    wrong = [
        ({"datatype": "FP64"}, "escalate.datatype"),
        ({"shape": [1, 4]}, "escalate.inputs"),
        ({"inputs": bytes(15)}, "escalate.inputs"),
        ({"shape": [1, 16]}, "escalate.shape"),
        ({"inputs": bytes(32), "shape": [2, *SHAPE]}, "escalate.logits"),
        ({"logits": [0.0]}, "escalate.logits"),
        ({"logits": [float("nan")] * CLASSES}, "escalate.logits"),
        ({"threshold": float("nan")}, "escalate.threshold"),
        ({"model_name": "another"}, "escalate.model_name"),
        ({"model_name": "../tiny"}, "escalate.model_name"),
        ({"manifest_digest": "sha256:no"}, "escalate.manifest_digest"),
        ({"inputs": np.full(16, np.nan, "<f4").tobytes(), "datatype": "FP32"}, "escalate.inputs"),
    ]
    async with answering(fleet, tmp_path, maker), fleet.client(credential) as node:
        stub: Any = escalation_pb2_grpc.EscalationServiceStub(node.channel)
        answer = await stub.Escalate(escalation_pb2.EscalateRequest(**good))
        assert (answer.teacher_name, answer.teacher_digest, len(answer.logits)) == ("t", TEACHERS, CLASSES)
        for fields, field in wrong:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub.Escalate(escalation_pb2.EscalateRequest(**{**good, **fields}))
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT, fields
            assert field in refused.value.details()
        with pytest.raises(grpc.aio.AioRpcError) as large:
            await stub.Escalate(escalation_pb2.EscalateRequest(**{**good, "inputs": bytes(70_000)}))
        assert large.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        async with fleet.client(stranger) as other:
            stub = escalation_pb2_grpc.EscalationServiceStub(other.channel)
            with pytest.raises(grpc.aio.AioRpcError) as denied:
                await stub.Escalate(escalation_pb2.EscalateRequest(**good))
            assert denied.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_the_process_of_the_teachers_answers_as_they_do_and_a_crash_costs_one_question(tmp_path: Path) -> None:
    blobs = BlobFolder(tmp_path / "blobs")
    alone, pair = network(1), Ensemble((network(1), network(2)), (1.0, 3.0), "probabilities", 2.0)
    x, _ = examples(5)
    x = x.reshape(5, *SHAPE)
    process = TeacherProcess(tmp_path)
    await process.begin()
    for teacher in (alone, pair):
        kept = described(teacher, SHAPE, CLASSES, blobs.put)
        assert kept is not None
        given = await process.ask(teacher.digest, kept, x)
        np.testing.assert_allclose(given, teacher.logits(x), atol=1e-5)
    assert process.ready
    pid = await child_of_this_process("littoral_cloud.teacher_service.worker")
    os.kill(pid, signal.SIGSTOP)
    asked = asyncio.create_task(process.ask(pair.digest, kept, x))
    await asyncio.sleep(0)  # it is sent
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(RuntimeFailure, match="SIGKILL"):
        await asked
    np.testing.assert_allclose(await process.ask(pair.digest, kept, x), pair.logits(x), atol=1e-5)
    gone = replace(kept, voices=(replace(kept.voices[0], weights=digest_of(b"gone")),))
    with pytest.raises(RuntimeFailure) as missing:
        await process.ask(digest_of(b"other"), gone, x)
    assert missing.value.code == "not-found"
    await process.close()
    assert not process.ready


async def test_while_the_teachers_process_starts_a_node_is_told_so_at_once_and_its_hint_is_kept(
    fleet: Fleet, maker: Maker, tmp_path: Path
) -> None:
    teacher = network(1)
    kept = described(teacher, SHAPE, CLASSES, fleet.blobs.put)
    assert kept is not None
    await keep(fleet.ledger, TEACHERS, kept)
    artifact = await with_teacher(fleet, maker, "joined", ((DATA, digest_of(b"data")), (TEACHER, TEACHERS)))
    x, _ = examples(1)
    question = Escalation("tiny", artifact, x.reshape(1, *SHAPE), np.ones((1, CLASSES), np.float32), 0.5)
    process, samples = TeacherProcess(tmp_path), SampleFiles(tmp_path / "samples")
    teachers = TeacherService(fleet.ledger, fleet.blobs, maker.signing_keys, process, samples, fleet.clock)
    try:
        with pytest.raises(TeacherStarting):
            await teachers.escalate("n1", question)
        await teachers.settled()  # the question that began the process is answered, for the sample alone
        assert process.ready
        [sample] = list(samples.read("tiny"))
        answer = await teachers.escalate("n1", question)
        np.testing.assert_allclose(answer.logits, teacher.logits(question.x), atol=1e-5)
        assert sample["teacher_class"] == str(int(answer.logits.argmax()))
    finally:
        await teachers.close()
        await process.close()


async def test_a_process_that_cannot_start_leaves_the_coordinator_at_work_and_nodes_are_told_why(
    fleet: Fleet, maker: Maker, tmp_path: Path
) -> None:
    await keep(fleet.ledger, TEACHERS, KEPT)
    artifact = await with_teacher(fleet, maker, "joined", ((DATA, digest_of(b"data")), (TEACHER, TEACHERS)))
    question = Escalation("tiny", artifact, np.zeros((1, *SHAPE), np.uint8), np.ones((1, CLASSES), np.float32), 0.5)
    process = TeacherProcess(tmp_path / "there is no such folder", pause_s=0.0)
    teachers = TeacherService(
        fleet.ledger, fleet.blobs, maker.signing_keys, process, SampleFiles(tmp_path / "samples"), fleet.clock
    )
    await teachers.open()
    with pytest.raises(RuntimeFailure, match="cannot be started"):
        await teachers.escalate("n1", question)
    (tmp_path / "there is no such folder").mkdir()
    (tmp_path / "there is no such folder" / "blobs").symlink_to(fleet.blobs.root)
    with pytest.raises(RuntimeFailure, match="digest: "):  # it is up, and has no weights of this one
        await teachers.escalate("n1", question)
    assert process.ready
    await teachers.close()
    await process.close()


def test_a_teacher_that_is_a_function_is_not_kept(tmp_path: Path) -> None:
    class Function:
        name, digest, parameters, seconds = "f", "sha256:f", 0, 0.0

        def logits(self, x: np.ndarray) -> np.ndarray:
            return np.zeros((len(x), CLASSES), np.float32)

    put = BlobFolder(tmp_path / "blobs").put
    assert described(Function(), SHAPE, CLASSES, put) is None
    assert described(Ensemble((network(1), Function()), (1.0, 1.0)), SHAPE, CLASSES, put) is None


async def test_hints_are_bounded_and_a_node_that_waits_no_longer_costs_none(fleet: Fleet, maker: Maker, tmp_path: Path) -> None:
    files = SampleFiles(tmp_path / "samples", most_bytes=2_000)
    for number in range(40):
        files.add("a.b", [{"number": number, "pad": "x" * 50}])
    kept = [sample["number"] for sample in files.read("a.b")]
    assert kept == list(range(kept[0], 40))
    assert sum(place.stat().st_size for place in (tmp_path / "samples").iterdir()) <= 4_000
    assert files.models() == ["a.b"]
    with (tmp_path / "samples" / "a.b.jsonl").open("ab") as file:
        file.write(b'{"cut')
    files.add("a.b", [{"number": 40}])
    assert [sample["number"] for sample in files.read("a.b")][-1] == 40

    came, go_on = asyncio.Event(), asyncio.Event()

    class Slow(Rule):
        async def ask(self, digest: str, kept: StoredTeacher, x: np.ndarray) -> np.ndarray:
            came.set()
            await go_on.wait()
            return np.zeros((len(x), CLASSES), np.float32)

    await keep(fleet.ledger, TEACHERS, KEPT)
    artifact = await with_teacher(fleet, maker, "joined", ((DATA, digest_of(b"data")), (TEACHER, TEACHERS)))
    trusted = maker.signing_keys
    teachers = TeacherService(fleet.ledger, fleet.blobs, trusted, Slow(), files, lambda: 7.0, keep_inputs=True)
    question = Escalation("tiny", artifact, np.zeros((1, *SHAPE), np.uint8), np.ones((1, CLASSES), np.float32), 0.5)
    asking = asyncio.create_task(teachers.escalate("n1", question))
    await came.wait()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    go_on.set()
    await teachers.settled()
    [sample] = list(files.read("tiny"))
    assert (sample["node"], sample["at"], sample["node_answer"]) == ("n1", 7.0, [0.3333] * CLASSES)
    assert json.dumps(sample["input"]["shape"]) == json.dumps(list(SHAPE))
    with pytest.raises(BadInput, match=r"escalate\.shape"):
        await teachers.escalate("n1", replace(question, x=np.zeros((1, 2, 2), np.uint8)))
    assert np.allclose(softmax(np.array([[0.0, 0.0]], np.float32)), 0.5)
