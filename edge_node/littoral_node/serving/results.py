"""The answers of the Open Inference Protocol, version 2: JSON, and binary tensors behind it (tensors.py has the format)."""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from littoral.manifest import Manifest
from littoral.signature import datatype_of
from littoral_node.serving.tensors import LABEL, Request
from littoral_node.serving.values import Array

_SLICE = 16 * 1024
"""Values of an answer's JSON that are encoded at one time."""
_MARK = f"large-{secrets.token_hex(8)}-"


@dataclass(frozen=True, slots=True)
class InferenceResult:
    model: str
    manifest_digest: str
    request: Request
    tensors: Mapping[str, Array]
    parameters: Mapping[str, Any] = field(default_factory=dict)  # of the node, not of the model

    @property
    def large(self) -> bool:
        """Whether its JSON takes long to encode."""
        for name, binary in self.request.outputs:  # noqa: SIM110 - on the path of each request, and `any` takes three times as long
            if not binary and self.tensors[name].size > _SLICE:
                return True
        return False

    def encode(self) -> tuple[bytes, int | None]:
        """The body, and the length of its JSON where binary tensors follow; None: all of it is JSON."""
        outputs: list[dict[str, Any]] = []
        tail: list[bytes] = []
        large: list[Array] = []
        for name, binary in self.request.outputs:
            values = self.tensors[name]
            output: dict[str, Any] = {"name": name, "shape": values.shape, "datatype": datatype_of(values)}
            if binary:
                tail.append(values.tobytes())
                output["parameters"] = {"binary_data_size": len(tail[-1])}
            elif values.size <= _SLICE:
                output["data"] = values.reshape(-1)
            else:
                output["data"] = f"{_MARK}{len(large)}"
                large.append(values.reshape(-1))
            outputs.append(output)
        answer: dict[str, Any] = {"model_name": self.model, "model_version": self.manifest_digest, "outputs": outputs}
        if self.request.id is not None:
            answer["id"] = self.request.id
        if self.parameters:
            answer["parameters"] = self.parameters
        head = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
        if large or b"null" in head:
            head = _spelt_out(answer, large)
        return (b"".join([head, *tail]), len(head)) if tail else (head, None)


def _spelt_out(answer: dict[str, Any], large: list[Array]) -> bytes:
    """An answer's JSON, with infinities as text, and large tensors in slices, so that the event loop runs between them."""
    for output in answer["outputs"]:
        if isinstance(data := output.get("data"), np.ndarray):
            output["data"] = _numbers(data)
    head = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
    for i, values in enumerate(large):
        slices = (_numbers(values[at : at + _SLICE]) for at in range(0, len(values), _SLICE))
        data = b",".join(orjson.dumps(each, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1] for each in slices)
        head = head.replace(f'"{_MARK}{i}"'.encode(), b"[" + data + b"]", 1)
    return head


def _numbers(values: Array) -> Array | list[Any]:
    """Numbers for JSON, which has no infinity: as the texts of protobuf's JSON, which numpy reads as numbers."""
    if values.dtype.kind != "f" or np.isfinite(values).all():
        return values
    return [value if math.isfinite(value) else _text_of(value) for value in values.tolist()]


def _text_of(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def tensors_of(manifest: Manifest, logits: npt.NDArray[np.float32]) -> Mapping[str, Array]:
    """The outputs of a model with classes, by name: logits and label."""
    return {manifest.output.name: np.ascontiguousarray(logits, "<f4"), LABEL: logits.argmax(axis=1).astype("<i8")}
