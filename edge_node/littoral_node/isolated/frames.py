"""Words and arrays between an agent and a child that runs a model: lengths first, nothing pickled.

    a frame    8 bytes: length of the head, length of the body, little endian; the head, a JSON object; the body
    the body   the arrays that the head's "arrays" lists as [name, type, shape], each begun at a multiple of 64 bytes

Both sides check what they read: a child that a model has broken may say anything.
"""

from __future__ import annotations

import json
import math
import socket
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from littoral.signature import DATATYPES
from littoral_node.runtimes import Array

MOST_HEAD = 65_536
MOST_BODY = 1 << 30
"""Bytes. What is larger would not have come in: a request's body is smaller by far."""
_LENGTHS = struct.Struct("<II")
_ALIGNED = 64
_TYPES = {kind.str: kind for kind in DATATYPES.values()}


class Broken(Exception):
    """The other side has gone, or says what is no frame."""


def send(line: socket.socket, head: Mapping[str, Any], arrays: Mapping[str, Array] | None = None) -> None:
    """Raises OSError where the other side has gone, TimeoutError after the socket's timeout."""
    listed: list[tuple[str, str, tuple[int, ...]]] = []
    parts: list[bytes | memoryview] = []
    size = 0
    for name, array in (arrays or {}).items():
        if not array.flags.c_contiguous:
            array = np.ascontiguousarray(array)
        gap = -size % _ALIGNED
        parts += [b"\0" * gap, array.reshape(-1).view(np.uint8).data]
        size += gap + array.nbytes
        listed.append((name, array.dtype.str, array.shape))
    words = json.dumps({**head, "arrays": listed}).encode()
    line.sendall(_LENGTHS.pack(len(words), size) + words)
    for part in parts:
        line.sendall(part)


def receive(line: socket.socket) -> tuple[dict[str, Any], dict[str, Array]]:
    """Raises Broken where the other side has gone or the frame is none, TimeoutError after the socket's timeout."""
    head_bytes, body_bytes = _LENGTHS.unpack(_exactly(line, _LENGTHS.size))
    if head_bytes > MOST_HEAD or body_bytes > MOST_BODY:
        raise Broken(f"a frame of {head_bytes} and {body_bytes} bytes")
    try:
        head = json.loads(bytes(_exactly(line, head_bytes)))
        return head, _arrays(head["arrays"], _exactly(line, body_bytes))
    except (ValueError, KeyError, TypeError) as error:
        raise Broken(f"no frame: {error!r}") from error


def _arrays(listed: Any, body: bytearray) -> dict[str, Array]:
    found: dict[str, Array] = {}
    at = 0
    for name, kind, shape in listed:
        dtype = _TYPES[kind]
        if not isinstance(name, str) or not all(type(size) is int and size >= 0 for size in shape):
            raise ValueError(f"array {name!r} of shape {shape!r}")
        count = math.prod(shape)
        at += -at % _ALIGNED
        if at + count * dtype.itemsize > len(body):
            raise ValueError(f"array {name!r} of shape {shape!r} in a body of {len(body)} bytes")
        found[name] = np.frombuffer(body, dtype, count, at if count else 0).reshape(shape)
        at += count * dtype.itemsize
    if at != len(body):
        raise ValueError(f"{len(body) - at} bytes belong to no array")
    return found


def _exactly(line: socket.socket, size: int) -> bytearray:
    data = bytearray(size)
    view = memoryview(data)
    while view:
        try:
            came = line.recv_into(view)
        except ConnectionError as error:
            raise Broken(str(error)) from error
        if came == 0:
            raise Broken("the other side has gone")
        view = view[came:]
    return data
