"""Images of any size brought to the one that a model takes: the same on every machine, bit for bit.

The cloud resizes what it trains on, and every node what its clients send, by this very function; numpy alone. All sums are of
whole numbers that float32 and float64 hold exactly, so no order in which a BLAS adds, and no CPU, changes a bit of them.

Each pixel of the result is a weighted mean of pixels of the source, rows and columns apart, in steps of 1 / 2**14:

"bilinear"  of the two nearest on each axis, pixel centres at halves: for enlarging, or shrinking to no less than half.
"area"      of all that lie under it, each by how much of it does: for shrinking, where bilinear would skip pixels.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from littoral.errors import BadInput

Images = npt.NDArray[np.uint8]
Weights = npt.NDArray[np.float32]

MOST = 8192
"""Pixels of a side."""
METHODS = ("area", "bilinear")
FITS = ("pad", "stretch")
_ONE = 1 << 14
# Rec. 601 luma in 16 bits, as image libraries round it.
_LUMA = (19595, 38470, 7471)


def resized(raw: npt.NDArray[Any], shape: tuple[int, ...], method: str, fit: str) -> Images:
    """Images of one size -> uint8 (n, *shape).

    Args:
        raw: uint8 (n, C, H, W), C 1 (grey) or 3 (red, green, blue); sides of 1 to MOST pixels.
        shape: (C, H, W) that is wanted; colour becomes grey by its luma, grey becomes three equal channels.
        method: one of METHODS.
        fit: "stretch" to the whole, or "pad": proportions stay, and what is left around the middle is black.

    Raises:
        BadInput: the shape of `raw` is none that can be resized; names it.
    """
    if (
        raw.dtype != np.uint8
        or raw.ndim != 4
        or raw.shape[1] not in (1, 3)
        or not all(1 <= side <= MOST for side in raw.shape[2:])
    ):
        raise BadInput(f"image: {raw.dtype} {raw.shape} cannot be resized", hint=f"uint8 (n, 1 or 3, 1..{MOST}, 1..{MOST})")
    channels, height, width = shape
    coloured = _channels(raw, channels)
    if coloured.shape[2:] == (height, width):
        return np.ascontiguousarray(coloured)
    inner = _inside(raw.shape[2:], (height, width)) if fit == "pad" else (height, width)
    down, across = _weights(raw.shape[2], inner[0], method), _weights(raw.shape[3], inner[1], method)
    result = np.zeros((len(raw), channels, height, width), np.uint8)
    top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
    for image, into in zip(coloured, result, strict=True):
        for plane, out in zip(image, into, strict=True):
            rows = down @ plane.astype(np.float32)  # at most 255 * 2**14, below 2**24
            sums = rows.astype(np.float64) @ across.T.astype(np.float64)  # below 2**36
            rounded = np.floor((sums + _ONE * _ONE / 2) / (_ONE * _ONE))
            out[top : top + inner[0], left : left + inner[1]] = rounded.astype(np.uint8)
    return result


def _channels(raw: Images, wanted: int) -> Images:
    if raw.shape[1] == wanted:
        return raw
    if wanted == 3:
        return np.repeat(raw, 3, axis=1)
    red, green, blue = (raw[:, i].astype(np.uint32) * np.uint32(weight) for i, weight in enumerate(_LUMA))
    grey: Images = ((red + green + blue + np.uint32(0x8000)) >> np.uint32(16)).astype(np.uint8)
    return grey[:, None]


def _inside(size: tuple[int, ...], into: tuple[int, int]) -> tuple[int, int]:
    """The largest (height, width) of these proportions inside `into`; whole numbers alone, so that all round alike."""
    height, width = size
    if into[0] * width <= into[1] * height:  # height binds
        return into[0], min(into[1], max(1, (2 * into[0] * width + height) // (2 * height)))
    return min(into[0], max(1, (2 * into[1] * height + width) // (2 * width))), into[1]


@lru_cache(maxsize=64)
def _weights(before: int, after: int, method: str) -> Weights:
    """(after, before): rows of whole numbers that sum to 2**14."""
    rows = np.zeros((after, before), np.int64)
    for place in range(after):
        if method == "bilinear":
            # The centre of `place`, in the source's pixels, is (2 place + 1) before / (2 after) - 1/2.
            top = (2 * place + 1) * before - after
            low, rest = divmod(max(0, min(top, 2 * after * (before - 1))), 2 * after)
            share = (rest * _ONE + after) // (2 * after)
            rows[place, low] += _ONE - share
            rows[place, min(low + 1, before - 1)] += share
        else:
            start, end = place * before, (place + 1) * before  # in 1 / after of a pixel
            pixels = np.arange(start // after, -(-end // after))
            covered = np.minimum(end, (pixels + 1) * after) - np.maximum(start, pixels * after)
            # What is covered up to each pixel, rounded, and the steps between: the sum is exact.
            upto = (np.cumsum(covered) * _ONE + before // 2) // before
            rows[place, pixels] = np.diff(upto, prepend=0)
    made = rows.astype(np.float32)
    made.setflags(write=False)
    return made
