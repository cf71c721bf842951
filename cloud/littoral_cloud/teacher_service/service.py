"""Answers the escalations of nodes: finds the teacher, asks it, and records both answers as a sample."""

from __future__ import annotations

import asyncio
import base64
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from littoral.digest import check_digest
from littoral.errors import BadInput, RuntimeFailure, Unavailable
from littoral.offload import MOST_EXAMPLES, softmax
from littoral_cloud.fleet.blobs import BlobStore
from littoral_cloud.fleet.edit import edit
from littoral_cloud.fleet.ledger import Clock, Ledger
from littoral_cloud.fleet.records import Artifact
from littoral_cloud.fleet.telemetry import check_model_name
from littoral_cloud.releases.teacher_records import StoredTeacher, teacher_of
from littoral_cloud.teacher_service.process import TeacherBusy
from littoral_cloud.teacher_service.samples import SampleFiles

log = logging.getLogger(__name__)

KIND = "escalation"
MOST_AT_ONCE = 4
"""Questions of one node that wait or are answered."""
_CACHED = 64


class EscalationOff(Unavailable):
    """This coordinator does not answer nodes' questions."""

    code = "escalation-off"


class TeacherStarting(Unavailable):
    """The process of the teachers is not up yet."""

    code = "teacher-starting"


@dataclass(frozen=True, slots=True, eq=False)
class Escalation:
    """What a node asks. `x`: (n, *shape) raw, uint8 or float32; `logits`: (n, classes), the node's own."""

    model: str
    manifest_digest: str
    x: npt.NDArray[Any]
    logits: npt.NDArray[np.float32]
    threshold: float


@dataclass(frozen=True, slots=True, eq=False)
class TeacherAnswer:
    logits: npt.NDArray[np.float32]
    teacher: str
    teacher_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EscalationCount:
    """Of one model on one node, id NODE:MODEL: examples, and the number for which the teacher had the same class."""

    examples: int = 0
    agreed: int = 0
    schema: int = 1


class Process(Protocol):
    @property
    def starting(self) -> bool:
        """It is not up yet; False where it failed to come up, too: then `ask` says why."""
        ...

    async def begin(self) -> None:
        """Raises RuntimeFailure."""
        ...

    async def ask(self, digest: str, stored: StoredTeacher, x: npt.NDArray[Any]) -> npt.NDArray[np.float32]: ...


@dataclass(frozen=True, slots=True)
class TeacherService:
    ledger: Ledger
    blobs: BlobStore
    trusted: Mapping[str, bytes]
    process: Process | None  # runs the teachers; None: escalation is off
    samples: SampleFiles
    clock: Clock
    keep_inputs: bool = False  # samples hold the inputs as well
    _known: dict[str, tuple[str, StoredTeacher, Artifact]] = field(default_factory=dict)
    _answering: dict[asyncio.Task[TeacherAnswer], str] = field(default_factory=dict)  # by whom it was asked

    async def open(self) -> None:
        """Starts the process of the teachers before a node waits for it. Where it fails, the next question tries again."""
        if self.process is not None:
            try:
                await self.process.begin()
            except RuntimeFailure as error:
                log.error("escalation: %s", error)

    async def escalate(self, node_id: str, question: Escalation) -> TeacherAnswer:
        """The teacher's answer. The sample is recorded even if the node stops waiting. A node gets TeacherStarting at once
        while the process is not up: its question starts the process, and is answered later for the sample alone.

        Raises EscalationOff, BadInput, NotFound, TeacherMissing, TeacherStarting, TeacherBusy, RuntimeFailure.
        """
        if self.process is None:
            raise EscalationOff("escalation: is off on this coordinator", hint="littoral-cloud serve --answer-escalations")
        check_model_name(question.model, "escalate.model_name")
        check_digest(question.manifest_digest, "escalate.manifest_digest")
        if (many := sum(asked == node_id for asked in self._answering.values())) >= MOST_AT_ONCE:
            raise TeacherBusy(f"escalation: {many} questions of this node wait already", hint="the node answers by itself")
        answering = asyncio.create_task(self._answer(node_id, question, self.process))
        self._answering[answering] = node_id
        answering.add_done_callback(self._ended)
        if self.process.starting:
            raise TeacherStarting("escalation: the teacher's process is not up yet", hint="the node answers by itself meanwhile")
        return await asyncio.shield(answering)

    def _ended(self, task: asyncio.Task[TeacherAnswer]) -> None:
        del self._answering[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.info("escalation: %s", error)

    async def _answer(self, node_id: str, question: Escalation, process: Process) -> TeacherAnswer:
        known = self._known.get(question.manifest_digest)
        if known is None:
            known = await teacher_of(self.ledger, self.blobs, self.trusted, question.manifest_digest)
            while len(self._known) >= _CACHED:
                del self._known[next(iter(self._known))]
            self._known[question.manifest_digest] = known
        digest, stored, artifact = known
        _check(question, stored, artifact)
        logits = await process.ask(digest, stored, question.x)
        await self._write_down(node_id, question, stored, digest, artifact, logits)
        return TeacherAnswer(logits, stored.name, digest)

    async def _write_down(
        self,
        node_id: str,
        question: Escalation,
        stored: StoredTeacher,
        digest: str,
        artifact: Artifact,
        logits: npt.NDArray[np.float32],
    ) -> None:
        now = self.clock()
        own, other = softmax(question.logits), softmax(logits)
        labels = tuple(artifact.class_accuracy) if len(artifact.class_accuracy) == stored.classes else ()
        samples = []
        for i in range(len(own)):
            sample: dict[str, Any] = {
                "at": round(now, 3),
                "node": node_id,
                "model": question.model,
                "manifest": question.manifest_digest,
                "teacher": digest,
                "threshold": question.threshold,
                "confidence": round(float(own[i].max()), 4),
                "node_class": _named(labels, int(own[i].argmax())),
                "teacher_class": _named(labels, int(other[i].argmax())),
                "node_answer": [round(float(p), 4) for p in own[i]],
                "teacher_answer": [round(float(p), 4) for p in other[i]],
            }
            if self.keep_inputs:
                x = question.x[i]
                sample["input"] = {
                    "shape": list(x.shape),
                    "dtype": str(x.dtype),
                    "data": base64.b64encode(np.ascontiguousarray(x).tobytes()).decode(),
                }
            samples.append(sample)
        try:
            await asyncio.to_thread(self.samples.add, question.model, samples)
        except OSError as error:  # a full disk: the node gets its answer all the same
            log.error("escalation: samples are not recorded: %s", error)
        agreed = int((own.argmax(axis=1) == other.argmax(axis=1)).sum())
        await self._count(node_id, question, len(own), agreed)

    async def _count(self, node_id: str, question: Escalation, examples: int, agreed: int) -> None:
        id = f"{node_id}:{question.model}"

        def change(before: EscalationCount | None) -> EscalationCount:
            before = before or EscalationCount()
            return replace(before, examples=before.examples + examples, agreed=before.agreed + agreed)

        await edit(self.ledger, EscalationCount, KIND, id, change)

    async def settled(self) -> None:
        """Returns once each question that came so far has its sample, or has failed."""
        await asyncio.gather(*self._answering, return_exceptions=True)

    async def close(self) -> None:
        open_ones = tuple(self._answering)
        for task in open_ones:
            task.cancel()
        await asyncio.gather(*open_ones, return_exceptions=True)


def _check(question: Escalation, stored: StoredTeacher, artifact: Artifact) -> None:
    """Raises BadInput, naming the field."""
    if artifact.model != question.model:
        raise BadInput(f"escalate.model_name: {artifact.name} is of model {artifact.model!r}, not {question.model!r}")
    if question.x.shape[1:] != stored.shape or not 1 <= len(question.x) <= MOST_EXAMPLES:
        wanted = f"[1..{MOST_EXAMPLES}, {', '.join(map(str, stored.shape))}]"
        raise BadInput(f"escalate.shape: {list(question.x.shape)}, the teacher takes {wanted}")
    if question.logits.shape != (len(question.x), stored.classes) or not np.isfinite(question.logits).all():
        raise BadInput(f"escalate.logits: {list(question.logits.shape)}, wanted {[len(question.x), stored.classes]} numbers")
    if not math.isfinite(question.threshold) or not 0 < question.threshold <= 1:
        raise BadInput(f"escalate.threshold: {question.threshold} is not a fraction between 0 and 1")
    if question.x.dtype != np.uint8 and not np.isfinite(question.x).all():
        raise BadInput("escalate.inputs: hold a value that is not finite")


def _named(labels: tuple[str, ...], place: int) -> str:
    return labels[place] if labels else str(place)
