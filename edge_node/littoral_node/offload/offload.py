"""Offload: where a model is less sure than its threshold, the node asks the teacher in the cloud, inside a budget and a deadline.
Without an answer of the teacher the node gives its own answer, at once.

An answer of a model with a threshold says by its parameter `answered_by` who gave it: "node", "cloud", or of a batch one of them
for each example; `offload` says why the cloud was not asked or did not answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from littoral.fleet.v1 import escalation_pb2
from littoral.manifest import Manifest
from littoral.offload import MOST_EXAMPLES, softmax
from littoral.transport import MAX_MESSAGE_BYTES
from littoral_node.offload.channel import NoAnswer
from littoral_node.offload.samples import SampleFile
from littoral_node.offload.spending import OffloadBudget, OffloadSpending, refusal, spend
from littoral_node.serving.results import InferenceResult, tensors_of
from littoral_node.telemetry.counting import TelemetryWindows

AT_ONCE = 4
"""Questions that wait for the cloud; more are answered by the node."""
PAUSE_S = 600.0
"""Until the next question, after the cloud answered that it cannot answer."""
AWAY_S = 10.0
"""The same after it could not be reached."""
STARTING_S = 2.0
"""The same while the teacher's process starts there."""
_CANNOT = ("teacher-missing", "not-found", "bad-input", "too-large")  # of this artifact
_WILL_NOT = ("escalation-off", "not-accepted")  # of any
_PAUSES = {
    **dict.fromkeys((*_CANNOT, *_WILL_NOT), PAUSE_S),
    "cloud-away": AWAY_S,
    "teacher-starting": STARTING_S,
}
_ENVELOPE_BYTES = 512  # of a message, around the question


@dataclass(frozen=True, slots=True)
class OffloadTerms:
    """`thresholds`: by model, the confidence under which the cloud is asked; a model that is not named never asks."""

    thresholds: Mapping[str, float]
    budget: OffloadBudget = field(default_factory=OffloadBudget)
    deadline_s: float = 1.0
    on_metered: bool = False
    keep_inputs: bool = False


class Offload:
    """For one event loop.

    Args:
        ask: raises NoAnswer.
        connected: whether there is a session with the cloud.
        metered: whether the line is paid by the byte; None: not known, and so not.
        clock: seconds since 1970-01-01 UTC.
    """

    def __init__(
        self,
        terms: OffloadTerms,
        ask: Callable[[escalation_pb2.EscalateRequest, float], Awaitable[escalation_pb2.EscalateResponse]],
        samples: SampleFile,
        counter: TelemetryWindows,
        *,
        connected: Callable[[], bool],
        metered: Callable[[], bool | None],
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        log: Callable[..., None],
    ) -> None:
        self._terms = terms
        self._ask = ask
        self._samples = samples
        self._counter = counter
        self._connected = connected
        self._metered = metered
        self._clock = clock
        self._monotonic = monotonic
        self._log = log
        now = clock()
        self._spent = spend(OffloadSpending(), samples.bytes_of_day(now), now, questions=0)
        self._asking = 0
        self._paused: dict[str, tuple[float, str]] = {}  # until when, and why; by manifest digest, "" for all

    async def answer(self, model: str, manifest: Manifest, answer: InferenceResult) -> InferenceResult:
        """The answer, of which the teacher may have given what the model was not sure of. There always is one."""
        threshold = self._terms.thresholds.get(model)
        if threshold is None or manifest.signature is not None or not manifest.output.labels:
            return answer
        logits = answer.tensors[manifest.output.name]
        unsure = np.flatnonzero(_confidence(logits) < threshold)
        if not len(unsure):
            return replace(answer, parameters={"answered_by": "node"})
        try:
            given = await self._asked(model, manifest, answer, logits, unsure, threshold)
        except NoAnswer as error:
            self._log("offload-own-answer", model=model, reason=error.reason, detail=error.message[:300])
            return replace(answer, parameters={"answered_by": "node", "offload": error.reason})
        joined = logits.copy()
        joined[unsure] = given
        asked = set(unsure.tolist())
        who = ["cloud" if i in asked else "node" for i in range(len(logits))]
        parameters = {"answered_by": who[0] if len(set(who)) == 1 else ",".join(who)}
        return replace(answer, tensors=tensors_of(manifest, joined), parameters=parameters)

    async def _asked(
        self,
        model: str,
        manifest: Manifest,
        answer: InferenceResult,
        logits: npt.NDArray[np.float32],
        unsure: npt.NDArray[np.intp],
        threshold: float,
    ) -> npt.NDArray[np.float32]:
        """The teacher's logits for these examples. Raises NoAnswer."""
        self._check_may_ask(answer.manifest_digest, len(unsure))
        self._asking += 1
        try:
            raw = await asyncio.to_thread(manifest.input.sized, answer.request.raw[unsure])
            question = _question(model, answer.manifest_digest, raw, logits[unsure], threshold)
            size = question.ByteSize()
            if size + _ENVELOPE_BYTES > MAX_MESSAGE_BYTES:
                raise NoAnswer("too-large", f"{size} bytes, a question has {MAX_MESSAGE_BYTES} at most")
            now = self._clock()
            if why := refusal(self._spent, self._terms.budget, size, now):
                raise NoAnswer(why, str(self._terms.budget))
            self._spent = spend(self._spent, size, now)
            given, size = await self._answered(model, answer.manifest_digest, question, size, logits[unsure].shape)
            await self._write_down(model, answer, raw, logits[unsure], given, threshold, size)
            return given
        finally:
            self._asking -= 1

    def _check_may_ask(self, manifest_digest: str, examples: int) -> None:
        for key in ("", manifest_digest):
            until, why = self._paused.get(key, (0.0, ""))
            if why and self._monotonic() < until:
                raise NoAnswer(why, f"not asked again for {until - self._monotonic():.0f} s")
            self._paused.pop(key, None)
        if not self._connected():
            raise NoAnswer("cloud-away", "there is no session")
        if self._metered() and not self._terms.on_metered:
            raise NoAnswer("metered", "the line is paid by the byte")
        if self._asking >= AT_ONCE:
            raise NoAnswer("busy", f"{self._asking} questions wait for the cloud")
        if examples > MOST_EXAMPLES:
            raise NoAnswer("too-large", f"{examples} examples, a question has {MOST_EXAMPLES} at most")

    async def _answered(
        self, model: str, manifest_digest: str, question: escalation_pb2.EscalateRequest, size: int, shape: tuple[int, ...]
    ) -> tuple[npt.NDArray[np.float32], int]:
        """The teacher's logits, and the bytes that went over the line. Raises NoAnswer."""
        answered = False
        try:
            response = await self._ask(question, self._terms.deadline_s)
            back = response.ByteSize()
            self._spent = spend(self._spent, back, self._clock(), questions=0)
            given = np.array(response.logits, np.float32)
            if given.size != shape[0] * shape[1] or not np.isfinite(given).all():
                raise NoAnswer("bad-answer", f"{given.size} numbers, wanted {list(shape)}")
            answered = True
            return given.reshape(shape), size + back
        except NoAnswer as error:
            if (pause_s := _PAUSES.get(error.reason)) is not None:
                key = manifest_digest if error.reason in _CANNOT else ""
                self._paused[key] = (self._monotonic() + pause_s, error.reason)
            raise
        finally:
            self._counter.offloaded(model, manifest_digest, answered=answered)

    async def _write_down(
        self,
        model: str,
        answer: InferenceResult,
        raw: npt.NDArray[Any],
        own: npt.NDArray[np.float32],
        given: npt.NDArray[np.float32],
        threshold: float,
        size: int,
    ) -> None:
        sample: dict[str, Any] = {
            "at": round(self._clock(), 3),
            "model": model,
            "manifest": answer.manifest_digest,
            "threshold": threshold,
            "confidence": [round(float(p), 4) for p in _confidence(own)],
            "node_class": own.argmax(axis=1).tolist(),
            "teacher_class": given.argmax(axis=1).tolist(),
            "node_logits": [[round(float(v), 4) for v in row] for row in own],
            "teacher_logits": [[round(float(v), 4) for v in row] for row in given],
            "bytes": size,
        }
        if self._terms.keep_inputs:
            sample["inputs"] = {"shape": list(raw.shape), "dtype": str(raw.dtype), "data": raw.tobytes().hex()}
        try:
            await asyncio.to_thread(self._samples.add, sample)
        except OSError as error:  # a full disk: the answer counts, the sample is in the cloud
            self._log("sample-not-recorded", model=model, detail=str(error))


def _confidence(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """The probability of each example's class; (n,)."""
    found: npt.NDArray[np.float64] = softmax(logits).max(axis=1)
    return found


def _question(
    model: str, manifest_digest: str, raw: npt.NDArray[Any], own: npt.NDArray[np.float32], threshold: float
) -> escalation_pb2.EscalateRequest:
    pixels = raw.dtype == np.uint8
    x = np.ascontiguousarray(raw, np.uint8 if pixels else "<f4")
    return escalation_pb2.EscalateRequest(
        model_name=model,
        manifest_digest=manifest_digest,
        inputs=x.tobytes(),
        datatype="UINT8" if pixels else "FP32",
        shape=x.shape,
        logits=own.reshape(-1).tolist(),
        threshold=threshold,
    )
