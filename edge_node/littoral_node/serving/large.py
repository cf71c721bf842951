"""Reads large requests in short steps: JSON whose long lists of numbers become arrays, slice by slice.

orjson keeps Python's lock while it reads, so a thread alone does not help: a large body would still delay all other requests.
And a list of four million numbers takes a hundred times the memory of their array. Here every step is short, and only the
arrays themselves are large. It accepts exactly what `orjson` and values.py accept of a small body:

    the skeleton    the body without the values behind each "data"; it must be small, and orjson reads it
    the values      brackets and commas must be those of the tensor's shape, or of a flat list; orjson reads the numbers between
                    them, some thousands at a time
"""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson

from littoral.errors import BadInput
from littoral.signature import DATATYPES
from littoral.tensor_spec import MOST_RANK
from littoral_node.serving.values import Array, from_json

SKELETON_BYTES = 64 * 1024
_LONG = 1024
"""Bytes of values that are taken out of the skeleton; shorter ones stay."""
_SLICE = 32 * 1024
_VALUE = re.compile(rb"\s*:\s*(?=\[)")
_SPACE = b" \t\r\n"
_STRUCTURE = bytes.maketrans(bytes(range(256)), bytes(c if c in b"[]," else ord("0") for c in range(256)))
"""Everything that is no bracket and no comma is part of a value: orjson says which of those are numbers."""

Body = bytes | bytearray


def large_json(body: Body | memoryview) -> Any:
    """What orjson.loads gives, but that the "data" of `inputs` may be an array of the datatype and shape that stand beside it.

    For a thread: it takes as long as it takes, and lets others go on meanwhile. Raises BadInput.
    """
    text = bytes(body) if isinstance(body, memoryview) else body
    mark = secrets.token_hex(16)
    skeleton, values = _skeleton_of(text, mark)
    try:
        parsed = orjson.loads(skeleton)
    except orjson.JSONDecodeError as error:
        raise BadInput(f"body: is not JSON: {error}") from error
    inputs = parsed.get("inputs") if isinstance(parsed, dict) else None
    for i, tensor in enumerate(inputs if isinstance(inputs, list) else ()):
        data = tensor.get("data") if isinstance(tensor, dict) else None
        if isinstance(data, str) and data.startswith(mark):
            begin, end = values[int(data.removeprefix(mark))]
            tensor["data"] = _array(text, begin, end, tensor, f"inputs[{i}]")
    return parsed


def _skeleton_of(text: Body, mark: str) -> tuple[bytes, list[tuple[int, int]]]:
    """The JSON with marks in place of long values, and where those are."""
    pieces: list[Body] = []
    values: list[tuple[int, int]] = []
    size = copied = at = 0  # of the skeleton; up to where it was copied; where the next string is looked for
    while (quote := text.find(b'"', at)) >= 0:
        at = _behind_string(text, quote)
        if size + at - copied > SKELETON_BYTES:
            raise _too_much(len(text))
        if text[quote:at] != b'"data"' or (colon := _VALUE.match(text, at)) is None:
            continue
        begin = colon.end()
        end = _behind_values(text, begin)
        if end - begin < _LONG:
            continue
        pieces += (text[copied:begin], f'"{mark}{len(values)}"'.encode())
        size += begin - copied
        values.append((begin, end))
        copied = at = end
    if size + len(text) - copied > SKELETON_BYTES:
        raise _too_much(len(text))
    return b"".join([*pieces, text[copied:]]), values


def _too_much(size: int) -> BadInput:
    return BadInput(
        f"body: of its {size} bytes over {SKELETON_BYTES} are no values of a tensor",
        hint="values stand in inputs[..].data, or behind the JSON in binary form",
    )


def _behind_string(text: Body, quote: int) -> int:
    """Where the string ends that begins here. Raises BadInput."""
    at = quote + 1
    while 0 <= (end := text.find(b'"', at)) <= quote + SKELETON_BYTES:
        before = text[at:end]
        if (len(before) - len(before.rstrip(b"\\"))) % 2 == 0:
            return end + 1
        at = end + 1
    raise BadInput("body: is not JSON: a string does not end, or is too long")


def _behind_values(text: Body, begin: int) -> int:
    """Where the list ends that begins here, if it holds nothing but lists and numbers: before its object's end or next name."""
    stop = len(text)
    for sign in (b'"', b"}", b"{"):  # names come often: the second and third search are short
        if (at := text.find(sign, begin, stop)) >= 0:
            stop = at
    return text.rfind(b"]", begin, stop) + 1


def _array(text: Body, begin: int, end: int, tensor: dict[str, Any], at: str) -> Array | list[Any]:
    """Raises BadInput. A list that is empty where other fields of the tensor are wrong: they are complained of first."""
    datatype, shape = tensor.get("datatype"), tensor.get("shape")
    if not isinstance(datatype, str) or datatype not in DATATYPES or not isinstance(shape, list):
        return []
    if len(shape) > MOST_RANK or not all(type(size) is int and 1 <= size <= end - begin for size in shape):
        return []
    wanted = math.prod(shape)
    if wanted > end - begin:
        raise BadInput(f"{at}.data: holds fewer than the {wanted} values that shape {str(shape)[:80]} wants")
    _check_nesting(text, begin, end, tuple(shape), at)
    found, filled = np.empty(wanted, DATATYPES[datatype]), 0
    for numbers in _numbers(text, begin, end, at):
        if filled + len(numbers) > wanted:
            break
        found[filled : filled + len(numbers)] = from_json(numbers, (len(numbers),), datatype, at)
        filled += len(numbers)
    else:
        if filled == wanted:
            return found.reshape(shape)
    raise BadInput(f"{at}.data: does not hold the {wanted} values that shape {str(shape)[:80]} wants")


def _numbers(text: Body, begin: int, end: int, at: str) -> Iterator[list[Any]]:
    """What stands between commas, in slices. Raises BadInput."""
    place = begin
    while place < end:
        cut = end if end - place <= _SLICE else text.find(b",", place + _SLICE, end)
        cut = end if cut < 0 else cut
        if cut - place > 2 * _SLICE:
            raise BadInput(f"{at}.data: holds something else than numbers", hint="numbers alone, of at most 64 bits")
        try:
            numbers = orjson.loads(b"[%b]" % bytes(text[place:cut]).translate(None, b"[]"))
        except orjson.JSONDecodeError as error:
            raise BadInput(f"body: is not JSON: {at}.data: {error}") from error
        yield numbers
        place = cut + 1


def _check_nesting(text: Body, begin: int, end: int, shape: tuple[int, ...], at: str) -> None:
    """Raises BadInput where brackets and commas are neither those of the shape nor those of a flat list."""
    flat = text.find(b"[", begin + 1, end) < 0
    if flat and text.find(b"]", begin, end) == end - 1:
        return
    wanted = _nesting(shape)
    place, last = 0, b""
    for start in range(begin, end, _SLICE):
        there = bytes(text[start : min(start + _SLICE, end)]).translate(_STRUCTURE, _SPACE)
        if b"0[" in last + there or b"]0" in last + there:
            break
        last = there[-1:] or last
        signs = there.translate(None, b"0")
        if wanted[place : place + len(signs)] != signs:
            break
        place += len(signs)
    else:
        if place == len(wanted):
            return
    raise BadInput(f"{at}.data: is nested in another way than {str(list(shape))[:80]}, or flat, or holds more than numbers")


def _nesting(shape: tuple[int, ...]) -> bytes:
    """The brackets and commas of an array."""
    if not shape:
        return b""
    return b"[%b]" % ((_nesting(shape[1:]) + b",") * shape[0])[:-1]
