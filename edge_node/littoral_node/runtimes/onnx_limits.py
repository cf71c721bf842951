"""The highest ONNX that a runtime takes, found by giving it models of one operator. They are written here byte by byte: a node
has no onnx.

The fields are those of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

from __future__ import annotations

from collections.abc import Callable

OLDEST = (7, 13)
"""IR and opset that every onnxruntime since 1.8 takes."""
_FAR = 100


def highest(loads: Callable[[bytes], bool]) -> tuple[int, int]:
    """(IR, opset) up to which `loads` takes one version after another; 0 where it does not even take the oldest."""
    oldest_ir, oldest_opset = OLDEST
    ir = _last(lambda version: loads(tiny(version, oldest_opset)), oldest_ir)
    return ir, _last(lambda version: loads(tiny(oldest_ir, version)), oldest_opset)


def _last(takes: Callable[[int], bool], first: int) -> int:
    last = 0
    for version in range(first, _FAR):
        if not takes(version):
            break
        last = version
    return last


def tiny(ir: int, opset: int) -> bytes:
    """A model, y = x, of one float each."""
    one_float = _field(1, _field(1, 1) + _field(2, _field(1, _field(1, 1))))  # tensor type: float, one dimension of 1
    node = _field(1, b"x") + _field(2, b"y") + _field(4, b"Identity")
    graph = _field(1, node) + _field(2, b"g") + _field(11, _value(b"x", one_float)) + _field(12, _value(b"y", one_float))
    return _field(1, ir) + _field(7, graph) + _field(8, _field(1, b"") + _field(2, opset))


def _value(name: bytes, kind: bytes) -> bytes:
    return _field(1, name) + _field(2, kind)


def _field(number: int, value: int | bytes) -> bytes:
    """One field of a protobuf message: a varint, or bytes with their length before them."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(number: int) -> bytes:
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*groups, number))
