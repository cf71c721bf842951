"""A codebook: the values that an array's ranks stand for, as a plan holds them, raw or in a shorter form that is exact."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from littoral.codec.container import Reader
from littoral.codec.errors import Undecodable

NIBBLE, ONE, TWO, FOUR = range(4)
"""Widths of an element: half a byte (two in a byte, the first in the low half), 1, 2 and 4 bytes, little-endian."""
DTYPES = (np.dtype("<u1"), np.dtype("<u1"), np.dtype("<u2"), np.dtype("<u4"))
MAX_VALUES = 256

RAW, RANGE, SCALED_RANGE, SCALED, HALF, BRAIN, LITERALS = range(7)
"""Forms: RAW, the elements as they are; RANGE, whole numbers lo, lo + 1, ...; SCALED_RANGE, those times a float32; SCALED, signed
bytes times a float32; HALF and BRAIN, float16 and bfloat16 in place of float32. LITERALS is no codebook: the plan holds one
value, and the elements that differ from it lie in a piece of their own."""

Values = npt.NDArray[np.unsignedinteger]
_F4 = np.dtype("<f4")


def write(values: Values, width: int) -> tuple[int, bytes]:
    """(form, bytes): the shortest form from which `read` makes the same values."""
    forms = [(RAW, values.astype(DTYPES[width]).tobytes())]
    wholes = _signed(values, width)
    if -128 <= wholes[0] < 128 and (np.diff(wholes) == 1).all():
        forms.append((RANGE, wholes[:1].astype(np.int8).tobytes()))
    if width == FOUR:
        floats = values.astype("<u4").view(_F4)
        forms.append((HALF, _as_half(floats)))
        forms.append((BRAIN, (values.astype("<u4") >> 16).astype("<u2").tobytes()))
        forms += _scaled(floats)
    exact = [form for form in forms if _same(form, values, width)]
    return min(exact, key=lambda form: len(form[1]))


def read(reader: Reader, form: int, count: int, width: int) -> Values:
    """`count` values of a width from a plan. Raises Undecodable."""
    dtype = DTYPES[width]
    if form == RAW:
        return np.frombuffer(reader.take(count * dtype.itemsize), dtype)
    if form == RANGE:
        wholes = np.frombuffer(reader.take(1), np.int8).astype(np.int64) + np.arange(count)
        return (wholes & (0xF if width == NIBBLE else (1 << 8 * dtype.itemsize) - 1)).astype(dtype)
    if width != FOUR or form > BRAIN:
        raise Undecodable(f"coded bytes: codebook form {form} of width {width} is not known")
    if form == HALF:
        return np.frombuffer(reader.take(2 * count), "<f2").astype(_F4).view("<u4")
    if form == BRAIN:
        return np.frombuffer(reader.take(2 * count), "<u2").astype("<u4") << np.uint32(16)
    scale = np.frombuffer(reader.take(4), _F4)
    if form == SCALED:
        wholes = np.frombuffer(reader.take(count), np.int8).astype(np.int64)
    else:
        wholes = np.frombuffer(reader.take(1), np.int8).astype(np.int64) + np.arange(count)
    with np.errstate(all="ignore"):  # a hostile scale may overflow
        return (wholes.astype(_F4) * scale).astype(_F4).view("<u4")


def _signed(values: Values, width: int) -> npt.NDArray[np.int64]:
    wholes = values.astype(np.int64)
    half = 8 if width == NIBBLE else 1 << (8 * DTYPES[width].itemsize - 1)
    return np.where(wholes >= half, wholes - 2 * half, wholes)


def _as_half(floats: npt.NDArray[np.float32]) -> bytes:
    with np.errstate(all="ignore"):
        return floats.astype("<f2").tobytes()


def _scaled(floats: npt.NDArray[np.float32]) -> list[tuple[int, bytes]]:
    """Forms in which every value is a multiple of one float32: the least value, or an eighth to a half of it."""
    with np.errstate(all="ignore"):
        sizes = np.abs(floats[np.isfinite(floats) & (floats != 0)])
        if not len(sizes):
            return []
        found = []
        for share in range(1, 9):
            scale = np.float32(sizes.min() / np.float32(share))
            wholes = np.rint(floats.astype(np.float64) / np.float64(scale))
            if not (np.abs(wholes) <= 127).all():
                break
            head, small = np.array([scale], _F4).tobytes(), wholes.astype(np.int8)
            found.append((SCALED_RANGE, head + small[:1].tobytes()))
            found.append((SCALED, head + small.tobytes()))
    return found


def _same(form: tuple[int, bytes], values: Values, width: int) -> bool:
    import io

    again = read(Reader(io.BytesIO(form[1]), 0, len(form[1])), form[0], len(values), width)
    return again.tobytes() == values.astype(DTYPES[width]).tobytes()
