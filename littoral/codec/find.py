"""Finds the arrays in a file: ONNX, safetensors, ncnn, and all that contains numpy's own format, as Flower's messages do.

Only the encoder looks for arrays; what it does not find travels as text, so a mistake here costs bytes and never a file. The
decoder knows no format.
"""

from __future__ import annotations

import ast
import json
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from littoral.codec.codebook import FOUR, NIBBLE, ONE, TWO

FLOAT, SIGNED, UNSIGNED = range(3)
"""How bits order values: as a sign and a size (all floats), as two's complement, as they are."""


@dataclass(frozen=True, slots=True)
class ArrayPlace:
    """Where an array is: `offset` and `size` in bytes, `shape` in elements, `width` as in codebook.py, and its `kind`."""

    offset: int
    size: int
    shape: tuple[int, ...]
    width: int
    kind: int


def arrays_in(data: bytes) -> list[ArrayPlace]:
    """The arrays in order of their offset, none over another. Empty for an unknown format."""
    for search in (_onnx, _safetensors, _numpy):
        try:
            found = sorted(search(data), key=lambda array: array.offset)
        except (ValueError, IndexError, KeyError, TypeError, struct.error, SyntaxError, RecursionError):
            continue  # not this format
        ends = [0, *(array.offset + array.size for array in found)]
        if found and all(array.offset >= end for array, end in zip(found, ends, strict=False)) and ends[-1] <= len(data):
            return found
    return []


def _whole(array: ArrayPlace) -> bool:
    elements = math.prod(array.shape)
    return array.size == (elements // 2 if array.width == NIBBLE else elements << (array.width - 1)) and (
        array.width != NIBBLE or elements % 2 == 0
    )


# -- ONNX: the protobuf wire format, as far as tensors go --------------------------------------------------------------

_ONNX = {
    1: (FOUR, FLOAT), 2: (ONE, UNSIGNED), 3: (ONE, SIGNED), 4: (TWO, UNSIGNED), 5: (TWO, SIGNED), 6: (FOUR, SIGNED),
    10: (TWO, FLOAT), 12: (FOUR, UNSIGNED), 16: (TWO, FLOAT), 17: (ONE, FLOAT), 18: (ONE, FLOAT), 19: (ONE, FLOAT),
    20: (ONE, FLOAT), 21: (NIBBLE, UNSIGNED), 22: (NIBBLE, SIGNED), 23: (NIBBLE, FLOAT),
}  # fmt: skip
"""onnx.TensorProto.DataType, those that weights have."""
_GRAPH, _NODE, _INITIALIZER, _ATTRIBUTE, _TENSOR = 7, 1, 5, 5, 5
_DIMS, _TYPE, _FLOATS, _RAW = 1, 2, 4, 9


def _fields(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """(field, value, start, end) of a message; value of a varint, start and end of bytes. Raises ValueError."""
    at = start
    while at < end:
        key, at = _varint(data, at, end)
        kind = key & 7
        if kind == 0:
            value, at = _varint(data, at, end)
            yield key >> 3, value, 0, 0
            continue
        if kind == 2:
            size, at = _varint(data, at, end)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError("no protobuf")
        if size > end - at:
            raise ValueError("no protobuf")
        yield key >> 3, 0, at, at + size
        at += size


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at
    raise ValueError("no protobuf")


def _onnx(data: bytes) -> Iterator[ArrayPlace]:
    for field, _, start, end in _fields(data, 0, len(data)):
        if field == _GRAPH and end:
            yield from _graph(data, start, end)


def _graph(data: bytes, start: int, end: int) -> Iterator[ArrayPlace]:
    for field, _, a, b in _fields(data, start, end):
        if field == _INITIALIZER:
            yield from _tensor(data, a, b)
        elif field == _NODE:
            for inner, _, c, d in _fields(data, a, b):
                if inner == _ATTRIBUTE and d:
                    for part, _, e, f in _fields(data, c, d):
                        if part == _TENSOR and f:
                            yield from _tensor(data, e, f)


def _tensor(data: bytes, start: int, end: int) -> Iterator[ArrayPlace]:
    shape: list[int] = []
    kind, place = 0, (0, 0)
    for field, value, a, b in _fields(data, start, end):
        if field == _DIMS and b:
            while a < b:
                value, a = _varint(data, a, b)
                shape.append(value)
        elif field == _DIMS:
            shape.append(value)
        elif field == _TYPE:
            kind = value
        elif field in (_RAW, _FLOATS) and b:
            place = (a, b)
    if kind in _ONNX and place[1] > place[0]:
        found = ArrayPlace(place[0], place[1] - place[0], tuple(shape), *_ONNX[kind])
        if _whole(found):
            yield found


# -- safetensors: eight bytes of length, JSON, then the arrays -----------------------------------------------------------

_SAFETENSORS = {
    "F32": (FOUR, FLOAT), "F16": (TWO, FLOAT), "BF16": (TWO, FLOAT), "I8": (ONE, SIGNED), "U8": (ONE, UNSIGNED),
    "I16": (TWO, SIGNED), "I32": (FOUR, SIGNED), "F8_E4M3": (ONE, FLOAT), "F8_E5M2": (ONE, FLOAT),
}  # fmt: skip


def _safetensors(data: bytes) -> Iterator[ArrayPlace]:
    (head,) = struct.unpack_from("<Q", data)
    if head > len(data) - 8 or data[8:9] != b"{":
        raise ValueError("no safetensors")
    for name, about in json.loads(data[8 : 8 + head]).items():
        if name != "__metadata__" and about["dtype"] in _SAFETENSORS:
            first, last = about["data_offsets"]
            found = ArrayPlace(8 + head + first, last - first, tuple(about["shape"]), *_SAFETENSORS[about["dtype"]])
            if _whole(found):
                yield found


# -- numpy's format, wherever it begins ------------------------------------------------------------------------------

_NUMPY = {"<f4": (FOUR, FLOAT), "<f2": (TWO, FLOAT), "|i1": (ONE, SIGNED), "|u1": (ONE, UNSIGNED), "<i4": (FOUR, SIGNED)}
_NUMPY_MAGIC = b"\x93NUMPY\x01\x00"


def _numpy(data: bytes) -> Iterator[ArrayPlace]:
    at = 0
    while (at := data.find(_NUMPY_MAGIC, at)) >= 0:
        (head,) = struct.unpack_from("<H", data, at + 8)
        start = at + 10 + head
        about = ast.literal_eval(data[at + 10 : start].decode("latin-1"))
        shape = tuple(int(size) for size in about["shape"])
        at = start
        if about["descr"] in _NUMPY and (not about["fortran_order"] or len(shape) < 2):
            width, kind = _NUMPY[about["descr"]]
            found = ArrayPlace(start, math.prod(shape) << (width - 1), shape, width, kind)
            if found.size <= len(data) - start:
                yield found
                at = start + found.size


# -- ncnn: a .bin says nothing of itself; the .param beside it does ------------------------------------------------------

_FLAGS = {0: FOUR, 0x01306B47: TWO}
"""ncnn writes one of these before weights: float32, float16."""
_NO_WEIGHTS = frozenset({
    "BinaryOp", "Clip", "Concat", "Crop", "Dropout", "ELU", "Eltwise", "Exp", "ExpandDims", "Flatten", "GELU", "HardSigmoid",
    "HardSwish", "Input", "Interp", "LRN", "Log", "Mish", "Noop", "Packing", "Padding", "Permute", "Pooling", "Power", "ReLU",
    "Reduction", "Reorg", "Reshape", "SELU", "ShuffleChannel", "Sigmoid", "Slice", "Softmax", "Softplus", "Split", "Squeeze",
    "Swish", "TanH", "Threshold", "UnaryOp",
})  # fmt: skip


def arrays_beside(param: bytes, data: bytes) -> list[ArrayPlace]:
    """The arrays of an ncnn .bin, up to the first layer of an unknown kind."""
    found: list[ArrayPlace] = []
    at = 0
    try:
        for line in param.decode().splitlines()[2:]:
            kind, _, inputs, outputs, *rest = line.split()
            fields = dict(word.split("=", 1) for word in rest[int(inputs) + int(outputs) :])
            if kind in _NO_WEIGHTS:
                continue
            layer = _ncnn_layer(kind, {int(key): value for key, value in fields.items()})
            (flag,) = struct.unpack_from("<I", data, at)
            shape, biases = layer
            weights = ArrayPlace(at + 4, math.prod(shape) << (_FLAGS[flag] - 1), shape, _FLAGS[flag], FLOAT)
            at = weights.offset + weights.size + -weights.size % 4
            found.append(weights)
            if biases:
                found.append(ArrayPlace(at, 4 * biases, (biases,), FOUR, FLOAT))
                at += 4 * biases
            if at > len(data):
                return []
    except (ValueError, KeyError, IndexError, struct.error):  # what was found before is right
        return found if at <= len(data) else []
    return found


def _ncnn_layer(kind: str, fields: dict[int, str]) -> tuple[tuple[int, ...], int]:
    """(shape of the weights, biases). Raises KeyError where the layer is not known."""
    outputs = int(fields[0])
    if kind == "InnerProduct":
        return (outputs, int(fields[2]) // outputs), outputs * int(fields.get(1, "0"))
    if kind in ("Convolution", "ConvolutionDepthWise"):
        width = int(fields[1])
        height = int(fields.get(11, str(width)))
        inputs = int(fields[6]) // (outputs * width * height)
        return (outputs, inputs, height, width), outputs * int(fields.get(5, "0"))
    raise KeyError(kind)
