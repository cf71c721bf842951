"""Open Inference Protocol's gRPC messages to and from what REST has: the JSON of a request, and the bytes behind it.

So every error of a request is found in one place, tensors.py; the most frequent, correct requests take a shorter way.
Values in typed fields are made bytes first; answers always go as raw bytes, which is what the fast clients read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from littoral.errors import BadInput
from littoral.inference.v2 import inference_pb2 as pb
from littoral.manifest import Manifest
from littoral.signature import DATATYPES, datatype_of
from littoral.tensor_spec import MOST_RANK
from littoral_node.serving.results import InferenceResult
from littoral_node.serving.tensors import LABEL, MAX_BATCH, Asked, Request, asked, read
from littoral_node.serving.values import from_bytes

_CONTENTS: Mapping[str, str] = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
}
"""The field for each datatype, by the protocol."""
_SLICE = 16 * 1024
MOST_FIELDS = 4096
_NESTED = ({4, 5, 6}, {2, 4, 5}, {2})
"""By depth, the numbers of fields of a request that hold messages of which there may be many: its parameters, inputs and outputs;
parameters of those; a parameter's value. (Contents are one; their values are counted as one field, for they come packed.)"""


def parsed(data: bytes) -> pb.ModelInferRequest:
    """Raises BadInput."""
    try:
        return pb.ModelInferRequest.FromString(data)
    except DecodeError as error:
        raise BadInput("request: is no ModelInferRequest") from error


def large(data: bytes) -> tuple[pb.ModelInferRequest, Asked]:
    """A large message, and what it asks; for a thread: no step of it takes long. Raises BadInput, naming the field."""
    if too_many(data):
        raise BadInput(f"request: has over {MOST_FIELDS} fields", hint="one tensor holds all values of an input")
    request = parsed(data)
    body, tail = json_of(request)
    return request, asked(body, tail)


def too_many(data: bytes | memoryview, depth: int = 3) -> bool:
    """Whether the messages in a message are more than a request can need: each takes a hundred times its bytes once it is read.

    The wire format (https://protobuf.dev/programming-guides/encoding/): a key, its number and type; a length, where it has one.
    """
    left = MOST_FIELDS

    def counted(view: memoryview, depth: int) -> None:
        nonlocal left
        at = 0
        while at < len(view) and left > 0:
            left -= 1
            key, at = _varint(view, at)
            kind = key & 7
            if kind == 0:
                _, at = _varint(view, at)
            elif kind == 2:
                size, at = _varint(view, at)
                if depth and key >> 3 in _NESTED[3 - depth]:
                    counted(view[at : at + size], depth - 1)
                at += size
            else:
                at += {1: 8, 5: 4}.get(kind, len(view))

    counted(memoryview(data), depth)
    return left <= 0


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    """What stands at `at`, and where the next begins; nothing and the end where there is none."""
    value = 0
    for i, byte in enumerate(view[at : at + 10]):
        value |= (byte & 127) << (7 * i)
        if byte < 128:
            return value, at + i + 1
    return 0, len(view)


def request_of(request: pb.ModelInferRequest, manifest: Manifest) -> Request:
    """What a message asks of a model. Raises BadInput, naming the field."""
    inputs, raw, wanted = request.inputs, request.raw_input_contents, manifest.input
    if (
        len(inputs) == len(raw) == 1
        and manifest.signature is None
        and not (request.outputs or request.parameters or inputs[0].parameters)
    ):
        # What mostly comes: the one tensor of one of our own models, as it takes it; every output is wanted.
        tensor, data = inputs[0], raw[0]
        kind, shape = DATATYPES.get(tensor.datatype), tuple(tensor.shape)
        if (
            kind is not None
            and tensor.name == wanted.name
            and shape[1:] == wanted.shape
            and 1 <= shape[0] <= MAX_BATCH
            and len(data) == math.prod(shape) * kind.itemsize
            and not tensor.HasField("contents")
        ):
            values = from_bytes(data, shape, tensor.datatype, "inputs[0]")
            return Request({wanted.name: values}, ((manifest.output.name, False), (LABEL, False)), request.id or None)
    body, tail = json_of(request)
    return read(body, manifest, tail)


def json_of(request: pb.ModelInferRequest) -> tuple[dict[str, Any], memoryview | None]:
    """A request's JSON and what would follow it. Raises BadInput, naming the field."""
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise BadInput(
            f"raw_input_contents: {len(raw)} for {len(request.inputs)} inputs", hint="one for each input, or none at all"
        )
    inputs, tail = [], []
    for i, tensor in enumerate(request.inputs):
        if len(tensor.shape) > MOST_RANK:
            raise BadInput(f"inputs[{i}].shape: has {len(tensor.shape)} sizes, at most {MOST_RANK} are taken")
        shape = list(tensor.shape)
        if raw and tensor.HasField("contents"):
            raise BadInput(f"inputs[{i}].contents: is given, and raw_input_contents too: one or the other")
        data = raw[i] if raw else _bytes_of(tensor, f"inputs[{i}]")
        if tensor.datatype in DATATYPES:
            wanted = math.prod(shape) * DATATYPES[tensor.datatype].itemsize
            if len(data) != wanted and all(size >= 0 for size in shape):
                where = (
                    f"raw_input_contents[{i}]: {len(data)} bytes" if raw else f"inputs[{i}].contents: {len(data)} bytes of values"
                )
                raise BadInput(f"{where}, {tensor.datatype} {shape} takes {wanted}")
        tail.append(data)
        parameters = {**_parameters(tensor.parameters), "binary_data_size": len(data)}
        inputs.append({"name": tensor.name, "datatype": tensor.datatype, "shape": shape, "parameters": parameters})
    parameters = _parameters(request.parameters)
    parameters.pop("binary_data_output", None)  # of REST: here everything is
    body: dict[str, Any] = {
        "inputs": inputs,
        "outputs": [{"name": output.name, "parameters": _parameters(output.parameters)} for output in request.outputs],
        "parameters": parameters,
    }
    if request.id:
        body["id"] = request.id
    return body, memoryview(tail[0] if len(tail) == 1 else b"".join(tail))


def answer_to(answer: InferenceResult) -> pb.ModelInferResponse:
    response = pb.ModelInferResponse(model_name=answer.model, model_version=answer.manifest_digest, id=answer.request.id or "")
    for name, value in answer.parameters.items():
        response.parameters[name].CopyFrom(_parameter_to(value))
    for name, _ in answer.request.outputs:
        values = answer.tensors[name]
        response.outputs.add(name=name, datatype=datatype_of(values), shape=values.shape)
        response.raw_output_contents.append(values.tobytes())
    return response


def metadata_to(about: Mapping[str, Any]) -> pb.ModelMetadataResponse:
    """Args:
    about: tensors.metadata.
    """
    response = pb.ModelMetadataResponse(name=about["name"], versions=about["versions"], platform=about["platform"])
    for kind in ("inputs", "outputs"):
        for spec in about[kind]:
            getattr(response, kind).add(name=spec.name, datatype=spec.datatype, shape=spec.shape)
    return response


def _bytes_of(tensor: pb.ModelInferRequest.InferInputTensor, at: str) -> bytes:
    field = _CONTENTS.get(tensor.datatype)
    if field is None:
        if tensor.datatype in DATATYPES:
            raise BadInput(f"{at}.contents: {tensor.datatype} has no field there", hint="send it in raw_input_contents")
        return b""  # tensors.py says which datatypes there are
    others = [other.name for other, _ in tensor.contents.ListFields() if other.name != field]
    if others:
        raise BadInput(f"{at}.contents.{others[0]}: is given, {tensor.datatype} stands in {field}")
    given = getattr(tensor.contents, field)
    kind, found = DATATYPES[tensor.datatype], bytearray()
    for start in range(0, len(given), _SLICE):  # others want to go on meanwhile
        values = given[start : start + _SLICE]
        if kind.kind in "iu" and kind.itemsize < 4:
            limits = np.iinfo(kind)
            if min(values) < limits.min or max(values) > limits.max:
                raise BadInput(f"{at}.contents.{field}: holds a value that {tensor.datatype} cannot hold")
        found += np.array(values, kind).tobytes()
    return bytes(found)


def _parameters(given: Mapping[str, pb.InferParameter]) -> dict[str, Any]:
    return {name: getattr(value, chosen) for name, value in given.items() if (chosen := value.WhichOneof("parameter_choice"))}


def _parameter_to(value: Any) -> pb.InferParameter:
    if isinstance(value, bool):
        return pb.InferParameter(bool_param=value)
    if isinstance(value, int):
        return pb.InferParameter(int64_param=value) if value < 1 << 63 else pb.InferParameter(uint64_param=value)
    return pb.InferParameter(double_param=value) if isinstance(value, float) else pb.InferParameter(string_param=str(value))
