"""The values of one tensor: from JSON's numbers, or from bytes, to an array.

What usually comes goes a short way; what that cannot read goes the long one, which also says what is wrong.
"""

from __future__ import annotations

import math
import reprlib
import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from littoral.answers import small
from littoral.errors import BadInput
from littoral.signature import DATATYPES

Array = npt.NDArray[Any]

_SHORT = reprlib.Repr()
_SHORT.maxlist = _SHORT.maxdict = _SHORT.maxtuple = 20
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 100
_FLAT = {"FP32": "f", "FP64": "d"}  # as struct and numpy both call this machine's own


def has_truths(text: bytes | bytearray) -> bool:
    """Whether a request's JSON may hold true or false. One letter is found in a fiftieth of the time that a word takes, and these
    two are in no name that each request has."""
    return (b"r" in text and b"true" in text) or (b"l" in text and b"false" in text)


def from_json(given: Any, shape: tuple[int, ...], datatype: str, at: str, *, truths: bool = True) -> Array:
    """Flat, or nested as `shape` says: any other nesting would be another order of the values.

    Args:
        truths: whether there may be a true or false among them. Those are values of BOOL, as 0 and 1 are, and of nothing else.
    """
    if isinstance(given, np.ndarray):
        return given  # of large.py
    if not isinstance(given, list):
        raise BadInput(f"{at}.data: must be a list of numbers, is {kind_of(given)}")
    kind, wanted = DATATYPES[datatype], math.prod(shape)
    if truths and datatype != "BOOL" and _holds_truth(given):
        raise BadInput(f"{at}.data: holds true or false, which {datatype} cannot hold", hint="numbers alone, of at most 64 bits")
    if datatype == "UINT8" and len(given) == wanted and (pixels := _pixels(given)) is not None:
        return pixels.reshape(shape)
    if datatype in _FLAT and len(given) == wanted and (flat := _floats(given, datatype)) is not None:
        return _finite(flat, datatype, at, given).reshape(shape)
    try:
        values = np.asarray(given)
    except (ValueError, OverflowError, RecursionError) as error:
        raise BadInput(f"{at}.data: cannot be read as {datatype}: its lists are of different lengths, or too deep") from error
    if kind.kind == "u" and values.dtype.kind == "f":
        values = _unsigned(given, values)
    if values.size and values.dtype.kind not in "biuf":
        raise BadInput(f"{at}.data: holds something else than numbers", hint="numbers alone, of at most 64 bits")
    if values.size != wanted:
        raise BadInput(f"{at}.data: holds {values.size} values, shape {list(shape)} wants {wanted}")
    if values.ndim > 1 and values.shape != shape:
        raise BadInput(f"{at}.data: is nested as {list(values.shape)}, wanted {list(shape)}, or flat")
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        if values.size and (values.dtype.kind == "f" or values.min() < limits.min or values.max() > limits.max):
            raise BadInput(
                f"{at}.data: holds a value that {datatype} cannot hold", hint=f"whole numbers, {limits.min} to {limits.max}"
            )
    if kind.kind == "b" and values.dtype.kind != "b" and not np.isin(values, (0, 1)).all():
        raise BadInput(f"{at}.data: holds a value that BOOL cannot hold", hint="true, false, 0 or 1")
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused
        return _finite(values.astype(kind), datatype, at, values).reshape(shape)


def _unsigned(given: list[Any], values: Array) -> Array:
    """Whole numbers of which one is over 2**63 and another is not: numpy makes floats of them, which are not exact."""
    exact = np.asarray(given, dtype=object)
    if not all(type(value) is int and 0 <= value < 1 << 64 for value in exact.reshape(-1)):
        return values
    return exact.astype(np.uint64)


def _pixels(given: list[Any]) -> Array | None:
    """What mostly comes, in a tenth of the time that numpy takes; None where these are not whole numbers from 0 to 255."""
    try:
        return np.frombuffer(bytes(given), np.uint8)
    except (ValueError, TypeError):
        return None


def _floats(given: list[Any], datatype: str) -> Array | None:
    """In a third of the time that numpy takes; None where these are not all numbers, flat."""
    letter = _FLAT[datatype]
    try:
        return np.frombuffer(struct.pack(f"{len(given)}{letter}", *given), letter)
    except (struct.error, OverflowError):
        return None


def from_bytes(data: bytes | memoryview, shape: tuple[int, ...], datatype: str, at: str) -> Array:
    """As many bytes as they take."""
    kind = DATATYPES[datatype]
    if kind.kind == "b":
        given = np.frombuffer(data, np.uint8)
        if given.max(initial=0) > 1:
            raise BadInput(f"{at}.data: holds a byte that BOOL cannot hold", hint="0 or 1")
        return given.view(np.bool_).reshape(shape)
    return _finite(np.frombuffer(data, kind), datatype, at).reshape(shape)


def _finite(values: Array, datatype: str, at: str, given: Any = None) -> Array:
    """`given`: the numbers that `values` were made of; None: they came so."""
    if values.dtype.kind == "f" and not small(values) and not np.isfinite(values).all():
        if given is not None and np.isfinite(np.asarray(given, np.float64)).all():
            most = np.finfo(values.dtype).max
            raise BadInput(f"{at}.data: holds a value that is too large for {datatype}", hint=f"at most {most:g}")
        raise BadInput(f"{at}.data: holds a value that is not finite as {datatype}")
    return values


def kind_of(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "missing or null"}
    return names.get(type(value), "a number")


def shown(value: Any) -> str:
    text = _SHORT.repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _holds_truth(given: list[Any]) -> bool:
    kinds = set(map(type, given))
    return bool in kinds or (list in kinds and any(_holds_truth(each) for each in given if type(each) is list))
