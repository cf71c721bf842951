"""What a parent and its child send over a socket: a JSON head and arrays, lengths first. Nothing is pickled.

    prefix   16 bytes: b"LTRL", the length of the head (4 bytes), the length of the body (8 bytes), little endian
    head     a JSON object, filled up with spaces to a multiple of 64 bytes; its "arrays" lists the body as [name, type, shape]
    body     the arrays, each at a multiple of 64 bytes; bytes travel as an array of uint8

1. The reader bounds both lengths before it allocates. A length that is claimed and not sent takes no memory: pages come with
   the bytes.
2. The arrays have types of littoral.signature.DATATYPES and fill the body exactly.
3. What breaks a rule is BadFrame. Nothing can be read from that line after it: its parent ends the child.

Arrays are not copied on either side: they are sent from where they lie, and those that are received lie in one buffer.

Example: {"call": 1} with x = float32 [2] is b"LTRL", 64, 8; `{"call": 1, "arrays": [["x", "<f4", [2]]]}` and spaces; 8 bytes.
"""

from __future__ import annotations

import json
import math
import socket
import struct
import time
from collections.abc import Generator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from littoral.errors import TooLarge
from littoral.signature import DATATYPES

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]
Message = tuple[dict[str, Any], dict[str, Array]]
MOST_HEAD = 1 << 18
MOST_BODY = 1 << 30
"""Bytes of a body, where a user names no other bound."""
_MAGIC = b"LTRL"
_PREFIX = struct.Struct("<4sIQ")
_ALIGNED = 64
_JOINED = 65_536  # bytes: below this a copy costs less than a list of parts
_PARTS = 512  # of one sendmsg: IOV_MAX is 1024
_TYPES = {kind.str: kind for kind in DATATYPES.values()}


class BadFrame(Exception):
    """The other side sends what is no frame."""


class LineEnded(BadFrame):
    """The other side has gone."""


def packed(head: Mapping[str, Any], arrays: Arrays, most: int) -> list[memoryview]:
    """One frame, as parts that lie where they lay.

    Raises TooLarge where the other side would not take it, TypeError where an array has a type that does not travel.
    """
    listed: list[tuple[str, str, tuple[int, ...]]] = []
    parts = [memoryview(b"")]
    size = 0
    for name, array in arrays.items():
        if not array.flags.c_contiguous:
            array = np.ascontiguousarray(array)
        if array.dtype.str not in _TYPES:
            raise TypeError(f"array {name!r} has type {array.dtype}, which does not travel")
        if gap := -size % _ALIGNED:
            parts.append(memoryview(bytes(gap)))
        if array.nbytes:
            parts.append(array.reshape(-1).view(np.uint8).data)
        size += gap + array.nbytes
        listed.append((name, array.dtype.str, array.shape))
    text = json.dumps({**head, "arrays": listed}).encode()
    text += b" " * (-len(text) % _ALIGNED)
    if len(text) > MOST_HEAD or size > most:
        raise TooLarge(f"frame: a head of {len(text):,} bytes and a body of {size:,}, at most {MOST_HEAD:,} and {most:,} travel")
    parts[0] = memoryview(_PREFIX.pack(_MAGIC, len(text), size) + text)
    return parts


def reading(most: int) -> Generator[memoryview, None, Message]:
    """Reads one frame of any line: each buffer that it yields is to be filled. Raises BadFrame."""
    prefix = bytearray(_PREFIX.size)
    yield memoryview(prefix)
    magic, head_bytes, body_bytes = _PREFIX.unpack(prefix)
    if magic != _MAGIC:
        raise BadFrame(f"no frame: it begins with {bytes(prefix)!r}")
    if head_bytes > MOST_HEAD or head_bytes % _ALIGNED or body_bytes > most:
        raise BadFrame(f"a frame of {head_bytes:,} and {body_bytes:,} bytes, at most {MOST_HEAD:,} and {most:,} are read")
    data = np.empty(head_bytes + body_bytes, np.uint8)
    yield data.data
    try:
        head = json.loads(str(data[:head_bytes].data, "utf-8"))
        listed = head.pop("arrays")
        return head, _arrays(listed, data, head_bytes)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadFrame(f"no frame: {error!r}") from error


def _arrays(listed: Any, data: npt.NDArray[np.uint8], begin: int) -> dict[str, Array]:
    found: dict[str, Array] = {}
    at = begin
    for name, kind, shape in listed:
        dtype = _TYPES[kind]
        if not isinstance(name, str) or not all(type(size) is int and size >= 0 for size in shape):
            raise ValueError(f"array {name!r} of shape {shape!r}")
        count = math.prod(shape)
        at += -at % _ALIGNED
        if at + count * dtype.itemsize > len(data):
            raise ValueError(f"array {name!r} of shape {shape!r} in a body of {len(data) - begin} bytes")
        found[name] = np.frombuffer(data, dtype, count, at if count else 0).reshape(shape)
        at += count * dtype.itemsize
    if at != len(data):
        raise ValueError(f"{len(data) - at} bytes belong to no array")
    return found


def send(line: socket.socket, parts: list[memoryview], deadline: float | None = None) -> None:
    """Raises OSError where the other side has gone, TimeoutError after the deadline (of time.monotonic)."""
    left = parts if sum(map(len, parts)) > _JOINED else [memoryview(b"".join(parts))]
    while left:
        _bound(line, deadline)
        sent = line.sendmsg(left[:_PARTS]) if len(left) > 1 else line.send(left[0])
        while left and sent >= left[0].nbytes:
            sent -= left.pop(0).nbytes
        if sent:
            left[0] = left[0][sent:]


def receive(line: socket.socket, most: int, deadline: float | None = None) -> Message:
    """Raises BadFrame, OSError; TimeoutError after the deadline (of time.monotonic), which is for the whole frame."""
    frame = reading(most)
    try:
        while True:
            room = next(frame)
            while room:
                _bound(line, deadline)
                came = line.recv_into(room)
                if came == 0:
                    raise LineEnded("no frame: the other side has gone")
                room = room[came:]
    except StopIteration as done:
        message: Message = done.value
        return message


def _bound(line: socket.socket, deadline: float | None) -> None:
    if deadline is not None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        line.settimeout(left)
