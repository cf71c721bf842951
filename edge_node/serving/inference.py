"""The Open Inference Protocol's inference, without a transport: a request as parsed JSON in, an answer as JSON values out.

https://github.com/open-inference/open-inference-protocol, version 2, "Inference". Every model has one input and two outputs:
its logits (FP32, (n, classes)) and `label` (INT64, (n,)), the index of the largest.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_node.serving.slots import Served, Slots
from edge_node.telemetry import Telemetry
from littoral.errors import BadInput, RuntimeFailure
from littoral.manifest import Manifest

MAX_BATCH = 256
LABEL = "label"
DATATYPES: Mapping[str, type[np.generic]] = {
    "BOOL": np.bool_,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "FP32": np.float32,
    "FP64": np.float64,
}


SLOW_S = 0.01
"""An inference of 50 microseconds is not worth a thread; one of this many seconds would hold up every other request."""
SLOW_IN_A_ROW = 3


class Inference:
    """Answers requests from what the slots hold, and counts every one of a model that is served. For one event loop."""

    def __init__(self, slots: Slots, telemetry: Telemetry, monotonic: Callable[[], float] = time.perf_counter) -> None:
        self._slots = slots
        self._telemetry = telemetry
        self._monotonic = monotonic
        self._slow: dict[str, int] = {}  # slow inferences in a row, by manifest digest

    async def answer(self, name: str, body: Any) -> dict[str, Any]:
        """One request to one model.

        Args:
            body: the request's JSON, parsed.

        Raises:
            NotFound: no such model is served. BadInput: names the field, what was wanted and what came; it says nothing about
                the model and is not counted. RuntimeFailure: the runtime gave up.
        """
        with self._slots.lease(name) as served:
            raw = decode(body, served.manifest)
            wanted = wanted_outputs(body, served.manifest)
            began = self._monotonic()
            try:
                logits = await self._logits(served, raw)
            except BaseException:
                self._count(name, served, raw, None, began)
                raise
            self._count(name, served, raw, logits, began)
            return encode(name, served, logits, wanted, body)

    async def _logits(self, served: Served, raw: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        prepared = served.manifest.input.prepare(raw)
        digest = served.manifest_digest
        if self._slow.get(digest, 0) >= SLOW_IN_A_ROW:
            logits = await asyncio.to_thread(served.model.infer, prepared)
        else:
            began = self._monotonic()
            logits = served.model.infer(prepared)
            slow = self._monotonic() - began > SLOW_S
            self._slow[digest] = self._slow.get(digest, 0) + 1 if slow else 0
        if not np.isfinite(logits).all():
            raise RuntimeFailure(f"model {served.manifest.name}: answered with values that are not numbers")
        return logits

    def _count(
        self, name: str, served: Served, raw: npt.NDArray[Any], logits: npt.NDArray[np.float32] | None, began: float
    ) -> None:
        self._telemetry.observe(
            name, served.manifest, served.manifest_digest, raw, logits, self._monotonic() - began, ok=logits is not None
        )


def decode(body: Any, manifest: Manifest) -> npt.NDArray[Any]:
    """The raw input batch, (n, *shape). Raises BadInput."""
    if not isinstance(body, dict):
        raise BadInput(
            "body: must be a JSON object", hint='{"inputs": [{"name": ..., "shape": ..., "datatype": ..., "data": ...}]}'
        )
    inputs = body.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise BadInput(f"inputs: must hold exactly one tensor, {manifest.input.name!r}")
    tensor = inputs[0]
    if tensor.get("name") != manifest.input.name:
        raise BadInput(f"inputs[0].name: {_shown(tensor.get('name'))}, this model's input is {manifest.input.name!r}")
    datatype = tensor.get("datatype")
    if not isinstance(datatype, str) or datatype not in DATATYPES:
        raise BadInput(f"inputs[0].datatype: {_shown(datatype)} is not taken", hint=f"one of {', '.join(DATATYPES)}")
    shape = _shape(tensor.get("shape"), manifest.input.shape)
    raw = _data(tensor.get("data"), DATATYPES[datatype], datatype)
    if raw.size != int(np.prod(shape)):
        raise BadInput(f"inputs[0].data: holds {raw.size} values, shape {list(shape)} wants {int(np.prod(shape))}")
    return raw.reshape(shape)


def _shape(given: Any, wanted: tuple[int, ...]) -> tuple[int, ...]:
    if not isinstance(given, list) or not all(isinstance(d, int) and not isinstance(d, bool) for d in given):
        raise BadInput(f"inputs[0].shape: {_shown(given)} must be a list of whole numbers")
    if tuple(given[1:]) != wanted or not given or not 1 <= given[0] <= MAX_BATCH:
        raise BadInput(
            f"inputs[0].shape: {_shown(given)}, wanted [n, {', '.join(map(str, wanted))}] with n from 1 to {MAX_BATCH}"
        )
    return tuple(given)


def _data(given: Any, kind: type[np.generic], datatype: str) -> npt.NDArray[Any]:
    if not isinstance(given, list):
        raise BadInput(f"inputs[0].data: must be a list of numbers, is {type(given).__name__}")
    try:
        values = np.asarray(given)
        if values.dtype == object or values.dtype.kind not in "biuf":
            raise ValueError("it holds something else than numbers, or rows of different lengths")
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise ValueError("it holds a value that is not finite")
        if issubclass(kind, np.integer):
            limits = np.iinfo(kind)
            if values.dtype.kind == "f" or (values.size and (values.min() < limits.min or values.max() > limits.max)):
                raise ValueError(f"it holds a value that is not a whole number of {datatype}")
        return values.astype(kind).reshape(-1)
    except (ValueError, OverflowError, TypeError) as error:
        raise BadInput(f"inputs[0].data: cannot be read as {datatype}: {error}") from error


def wanted_outputs(body: Mapping[str, Any], manifest: Manifest) -> tuple[str, ...]:
    """Names of the outputs to send; all where the request names none. Raises BadInput."""
    known = (manifest.output.name, LABEL)
    named = body.get("outputs")
    if named is None or named == []:
        return known
    if not isinstance(named, list) or not all(isinstance(o, dict) and o.get("name") in known for o in named):
        raise BadInput(f"outputs: {_shown(named)} must name outputs of this model", hint=f"it has {' and '.join(known)}")
    return tuple(o["name"] for o in named)


def encode(
    name: str, served: Served, logits: npt.NDArray[np.float32], wanted: tuple[str, ...], body: Mapping[str, Any]
) -> dict[str, Any]:
    tensors: dict[str, tuple[str, npt.NDArray[Any]]] = {
        served.manifest.output.name: ("FP32", logits),
        LABEL: ("INT64", logits.argmax(axis=1).astype(np.int64)),
    }
    outputs = []
    for output in wanted:
        datatype, values = tensors[output]
        outputs.append({"name": output, "shape": list(values.shape), "datatype": datatype, "data": values.reshape(-1)})
    answer: dict[str, Any] = {"model_name": name, "model_version": served.manifest_digest, "outputs": outputs}
    if isinstance(body.get("id"), str):
        answer["id"] = body["id"]
    return answer


def metadata(name: str, served: Served) -> dict[str, Any]:
    """The protocol's model metadata. -1 stands for the batch."""
    manifest = served.manifest
    return {
        "name": name,
        "versions": [served.manifest_digest],
        "platform": manifest.runtime,
        "inputs": [{"name": manifest.input.name, "datatype": "UINT8", "shape": [-1, *manifest.input.shape]}],
        "outputs": [
            {"name": manifest.output.name, "datatype": "FP32", "shape": [-1, len(manifest.output.labels)]},
            {"name": LABEL, "datatype": "INT64", "shape": [-1]},
        ],
    }


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
