"""What parent and child say to each other: JSON on one line, then the bytes of arrays; nothing is pickled.

The parent does not believe the child more than its file: lengths are bounded before anything is read.
"""

from __future__ import annotations

import json
import math
import os
import select
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from littoral.errors import RuntimeFailure

Array = npt.NDArray[Any]
MOST_HEAD = 1 << 22
MOST_ARRAYS = 1 << 31
_KINDS = "biuf"


class Hung(RuntimeFailure):
    """A model from elsewhere was not done in its time; its process was ended."""

    code = "runtime-hang"


def packed(body: Mapping[str, Any], arrays: Mapping[str, Array]) -> list[bytes]:
    parts = [np.ascontiguousarray(array) for array in arrays.values()]
    about = [[name, part.dtype.str, list(array.shape)] for (name, array), part in zip(arrays.items(), parts, strict=True)]
    return [json.dumps({**body, "arrays": about}).encode() + b"\n", *(part.tobytes() for part in parts)]


def read(take: Callable[[int], bytes], line: Callable[[], bytes]) -> tuple[dict[str, Any], dict[str, Array]]:
    """One message. Raises ValueError where it is none, EOFError where there is no more."""
    head = line()
    if not head:
        raise EOFError
    body = json.loads(head)
    arrays = {}
    for name, kind, shape in body.pop("arrays"):
        dtype = np.dtype(kind)
        size = math.prod(shape) * dtype.itemsize
        if dtype.kind not in _KINDS or size > MOST_ARRAYS:
            raise ValueError(f"{name}: {kind} {shape}")
        arrays[name] = np.frombuffer(take(size), dtype).reshape(shape)
    return body, arrays


class Pipe:
    """Both ends of a child's standard streams, with a deadline for whatever waits."""

    def __init__(self, into: int, out_of: int) -> None:
        self._into, self._out_of = into, out_of
        os.set_blocking(into, False)
        self._held = bytearray()

    def send(self, parts: list[bytes], seconds: float) -> None:
        """Raises Hung; BrokenPipeError where the child has ended."""
        deadline = time.monotonic() + seconds
        for part in parts:
            left = memoryview(part)
            while left:
                _, ready, _ = select.select([], [self._into], [], max(0.0, deadline - time.monotonic()))
                if not ready:
                    raise Hung(f"it did not take its inputs in {seconds:g} s")
                left = left[os.write(self._into, left[: 1 << 20]) :]

    def receive(self, seconds: float) -> tuple[dict[str, Any], dict[str, Array]]:
        """Raises Hung, EOFError where the child has ended, ValueError where it talks nonsense."""
        deadline = time.monotonic() + seconds

        def more() -> bool:
            ready, _, _ = select.select([self._out_of], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise Hung(f"it was not done in {seconds:g} s")
            found = os.read(self._out_of, 1 << 20)
            self._held += found
            return bool(found)

        def line() -> bytes:
            while (end := self._held.find(b"\n")) < 0:
                if len(self._held) > MOST_HEAD:
                    raise ValueError("a line without an end")
                if not more():
                    return b""
            return self._cut(end + 1)

        def take(size: int) -> bytes:
            while len(self._held) < size:
                if not more():
                    raise EOFError
            return self._cut(size)

        return read(take, line)

    def _cut(self, size: int) -> bytes:
        part = bytes(self._held[:size])
        del self._held[:size]
        return part
