"""Reads a Core ML package on any system: each operation of its program, with its own weights, in torch.

The program is a list of typed operations, MIL (https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html);
large values lie in the weight file, each after 64 bytes with its type, size and place. An unknown operation is an error, never
ignored.
"""

from __future__ import annotations

import importlib
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from littoral.errors import RuntimeFailure
from littoral.mlpackage import MODEL, WEIGHTS

_MARK = 0xDEADBEEF
_AT_ONCE = 250
_BLOB_TYPES: Mapping[int, Any] = {1: np.float16, 2: np.float32, 3: np.uint8, 4: np.int8}
_IMMEDIATE_TYPES: Mapping[int, Any] = {10: np.float16, 11: np.float32, 12: np.float64, 21: np.int8, 22: np.int16, 23: np.int32}
_TORCH_TYPES = {"fp16": torch.float16, "fp32": torch.float32, "int32": torch.int32, "bool": torch.bool}
Given = Mapping[str, Any]
"""The inputs of an operation by name: tensors, numbers, texts, tuples."""


def spec_of(files: Mapping[str, bytes]) -> Any:
    """The model's specification, a protobuf message. Raises RuntimeFailure."""
    message: Any = importlib.import_module("coremltools").proto.Model_pb2.Model()
    try:
        message.ParseFromString(files[MODEL])
    except Exception as error:  # protobuf's errors share no base with anything
        raise RuntimeFailure(f"coreml: {MODEL} is no Core ML model: {error}") from error
    if message.WhichOneof("Type") != "mlProgram":
        raise RuntimeFailure(f"coreml: {MODEL} holds {message.WhichOneof('Type')}, wanted an mlProgram")
    return message


def constants_of(files: Mapping[str, bytes]) -> dict[str, npt.NDArray[Any]]:
    """All arrays of the program by name, as they are stored."""
    operations, weights = _operations(spec_of(files)), files.get(WEIGHTS, b"")
    found = {op.outputs[0].name: _value(op.attributes["val"], weights) for op in operations if op.type == "const"}
    return {name: value for name, value in found.items() if isinstance(value, np.ndarray) and value.ndim}


def read(files: Mapping[str, bytes], prepared: npt.NDArray[np.float32], *, precise: bool = False) -> npt.NDArray[np.float32]:
    """The outputs of the program for each row, (n, classes).

    Args:
        prepared: (n, *shape).
        precise: in double precision throughout; else float16 is calculated in float32 and rounded after each operation.
    """
    spec = spec_of(files)
    operations, weights = _operations(spec), files.get(WEIGHTS, b"")
    name, output = spec.description.input[0].name, spec.description.output[0].name
    constants = {
        op.outputs[0].name: _widened(_value(op.attributes["val"], weights), precise) for op in operations if op.type == "const"
    }

    def one(row: torch.Tensor) -> torch.Tensor:
        """Runs the program, which has batch 1; vmap runs it on many rows at once."""
        return _run(operations, {**constants, name: row[None]}, output, precise).reshape(-1).float()

    with torch.inference_mode():
        rows = torch.from_numpy(np.ascontiguousarray(prepared))
        answers: torch.Tensor = torch.vmap(one, chunk_size=_AT_ONCE)(rows)
        return np.asarray(answers.numpy(), np.float32)


def _operations(spec: Any) -> Sequence[Any]:
    (function,) = spec.mlProgram.functions.values()
    block = function.block_specializations[function.opset]
    return list(block.operations)


def _run(operations: Sequence[Any], values: dict[str, Any], output: str, precise: bool) -> torch.Tensor:
    for op in operations:
        if op.type == "const":
            continue
        if op.type not in _KNOWN:
            raise RuntimeFailure(f"coreml: operation {op.type!r} is not known to cloud/littoral_cloud/export/coreml_reading.py")
        given = {key: _argument(argument, values) for key, argument in op.inputs.items()}
        wide = {key: _widened(value, precise) for key, value in given.items()}
        answer = _KNOWN[op.type](wide)
        answers = answer if isinstance(answer, tuple | list) else [answer]
        for place, tensor in zip(op.outputs, answers, strict=True):
            half = place.type.tensorType.dataType == 10
            values[place.name] = tensor.half() if half and not precise else tensor
    result: torch.Tensor = values[output]
    return result


def _argument(argument: Any, values: Mapping[str, Any]) -> Any:
    found = [values[binding.name] if binding.name else _value(binding.value, b"") for binding in argument.arguments]
    return found[0] if len(found) == 1 else found


def _widened(value: Any, precise: bool) -> Any:
    """Floats in double or single precision, in which the operations calculate."""
    if isinstance(value, list):
        return [_widened(part, precise) for part in value]
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(value.copy()) if value.ndim else value.item()
    if isinstance(value, torch.Tensor) and value.is_floating_point():
        return value.double() if precise else value.float()
    return value


def _value(value: Any, weights: bytes) -> Any:
    """A constant: text, or an array of its shape, from the message or the weight file."""
    shape = tuple(d.constant.size for d in value.type.tensorType.dimensions)
    if value.WhichOneof("value") == "blobFileValue":
        return _blob(weights, value.blobFileValue.offset).reshape(shape)
    held = value.immediateValue.tensor
    kind = held.WhichOneof("value")
    if kind == "strings":
        return held.strings.values[0]
    if kind == "bytes":
        return np.frombuffer(held.bytes.values, _IMMEDIATE_TYPES[value.type.tensorType.dataType]).reshape(shape)
    numbers = getattr(held, kind).values
    types: Mapping[str, Any] = {
        "floats": np.float32,
        "ints": np.int32,
        "bools": np.bool_,
        "longInts": np.int64,
        "doubles": np.float64,
    }
    return np.array(list(numbers), types[kind]).reshape(shape)


def _blob(weights: bytes, offset: int) -> npt.NDArray[Any]:
    mark, kind, size, place = struct.unpack_from("<IIQQ", weights, offset)
    if mark != _MARK or kind not in _BLOB_TYPES or place + size > len(weights):
        raise RuntimeFailure(f"coreml: {WEIGHTS} holds no value at {offset}")
    return np.frombuffer(weights, _BLOB_TYPES[kind], size // np.dtype(_BLOB_TYPES[kind]).itemsize, place)


def _ints(value: Any) -> list[int]:
    return [int(n) for n in (value.reshape(-1).tolist() if isinstance(value, torch.Tensor) else [value])]


def _padded(given: Given, window: Sequence[int], strides: Sequence[int], fill: float) -> torch.Tensor:
    """x with the rows and columns around it that `pad_type` asks for."""
    x, kind = given["x"], given["pad_type"]
    dimensions = len(window)
    if kind == "valid":
        return torch.as_tensor(x)
    if kind == "custom":
        pad = _ints(given["pad"])
    elif kind in ("same", "same_lower"):
        pad = []
        for size, k, s in zip(x.shape[2:], window, strides, strict=True):
            whole = max(0, (-(-size // s) - 1) * s + k - size)
            small = whole // 2
            pad += [small, whole - small] if kind == "same" else [whole - small, small]
    else:
        raise RuntimeFailure(f"coreml: pad_type {kind!r} is not known")
    ordered = [pad[2 * d + side] for d in reversed(range(dimensions)) for side in (0, 1)]
    return F.pad(x, ordered, value=fill)


def _conv(given: Given) -> torch.Tensor:
    weight, strides, dilations = given["weight"], _ints(given["strides"]), _ints(given["dilations"])
    window = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilations, strict=True)]
    function: Callable[..., torch.Tensor] = {1: F.conv1d, 2: F.conv2d}[len(window)]
    x = _padded(given, window, strides, 0.0)
    return function(x, weight, given.get("bias"), stride=strides, dilation=dilations, groups=int(given["groups"]))


def _pool(given: Given, *, largest: bool) -> torch.Tensor:
    window, strides = _ints(given["kernel_sizes"]), _ints(given["strides"])
    if largest:
        x = _padded(given, window, strides, float("-inf"))
        return {1: F.max_pool1d, 2: F.max_pool2d}[len(window)](x, window, strides, ceil_mode=bool(given.get("ceil_mode")))
    if given.get("ceil_mode"):
        raise RuntimeFailure("coreml: averages with ceil_mode are not known to cloud/littoral_cloud/export/coreml_reading.py")
    function: Callable[..., torch.Tensor] = {1: F.avg_pool1d, 2: F.avg_pool2d}[len(window)]
    sums = function(_padded(given, window, strides, 0.0), window, strides)
    if not given.get("exclude_padding_from_average"):
        return sums
    return sums / function(_padded({**given, "x": torch.ones_like(given["x"])}, window, strides, 0.0), window, strides)


def _matmul(given: Given) -> torch.Tensor:
    x, y = given["x"], given["y"]
    x = x.transpose(-1, -2) if given.get("transpose_x") else x
    return torch.as_tensor(x @ (y.transpose(-1, -2) if given.get("transpose_y") else y))


def _sliced(given: Given) -> torch.Tensor:
    x = given["x"]
    places = []
    for d, (begin, end) in enumerate(zip(_ints(given["begin"]), _ints(given["end"]), strict=True)):
        whole_end = given.get("end_mask") is not None and bool(given["end_mask"][d])
        whole_begin = given.get("begin_mask") is not None and bool(given["begin_mask"][d])
        places.append(slice(None if whole_begin else begin, None if whole_end else end))
    return torch.as_tensor(x[tuple(places)])


def _upsampled(given: Given) -> torch.Tensor:
    scales = [float(given["scale_factor_height"]), float(given["scale_factor_width"])]
    return F.interpolate(
        given["x"],
        scale_factor=scales,
        mode="bilinear",
        align_corners=bool(given["align_corners"]),
        recompute_scale_factor=False,
    )


def _squeezed(given: Given) -> torch.Tensor:
    x = given["x"]
    for axis in sorted(_ints(given["axes"]), reverse=True):
        x = x.squeeze(axis)
    return torch.as_tensor(x)


def _split(given: Given) -> Sequence[torch.Tensor]:
    axis = int(given["axis"])
    if given.get("split_sizes") is not None:
        return torch.split(given["x"], _ints(given["split_sizes"]), axis)
    return torch.chunk(given["x"], int(given["num_splits"]), axis)


_KNOWN: Mapping[str, Callable[[Given], Any]] = {
    "add": lambda g: g["x"] + g["y"],
    "sub": lambda g: g["x"] - g["y"],
    "mul": lambda g: g["x"] * g["y"],
    "real_div": lambda g: g["x"] / g["y"],
    "avg_pool": lambda g: _pool(g, largest=False),
    "max_pool": lambda g: _pool(g, largest=True),
    "cast": lambda g: g["x"].to(_TORCH_TYPES[g["dtype"]]),
    "clip": lambda g: g["x"].clamp(g["alpha"], g["beta"]),
    "concat": lambda g: torch.cat(g["values"], int(g["axis"])),
    "conv": _conv,
    "expand_dims": lambda g: _expanded(g["x"], _ints(g["axes"])),
    "identity": lambda g: g["x"],
    "linear": lambda g: F.linear(g["x"], g["weight"], g.get("bias")),
    "matmul": _matmul,
    "pad": lambda g: F.pad(g["x"], _pad_of(g), value=float(g.get("constant_val", 0.0))),
    "reduce_max": lambda g: g["x"].amax(_ints(g["axes"]), keepdim=bool(g["keep_dims"])),
    "reduce_mean": lambda g: g["x"].mean(_ints(g["axes"]), keepdim=bool(g["keep_dims"])),
    "relu": lambda g: g["x"].relu(),
    "relu6": lambda g: g["x"].clamp(0, 6),
    "reshape": lambda g: g["x"].reshape(_ints(g["shape"])),
    "sigmoid": lambda g: g["x"].sigmoid(),
    "slice_by_index": _sliced,
    "softmax": lambda g: g["x"].softmax(int(g["axis"])),
    "split": _split,
    "squeeze": _squeezed,
    "tanh": lambda g: g["x"].tanh(),
    "upsample_bilinear": _upsampled,
    "transpose": lambda g: g["x"].permute(_ints(g["perm"])),
}


def _pad_of(given: Given) -> list[int]:
    if given["mode"] != "constant":
        raise RuntimeFailure(f"coreml: pad mode {given['mode']!r} is not known here")
    pad = _ints(given["pad"])
    return [pad[2 * d + side] for d in reversed(range(len(pad) // 2)) for side in (0, 1)]


def _expanded(x: torch.Tensor, axes: Sequence[int]) -> torch.Tensor:
    for axis in sorted(axes):
        x = x.unsqueeze(axis)
    return x
