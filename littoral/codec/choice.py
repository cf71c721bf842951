"""Chooses whether to code an array as ranks, and the grid: it meters a few ways and takes the cheapest."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from littoral.codec import plan, planes
from littoral.codec.codebook import DTYPES, MAX_VALUES, NIBBLE, Values
from littoral.codec.coder import Meter, TooManyBits
from littoral.codec.container import MAX_ELEMENTS, MAX_LANES
from littoral.codec.find import FLOAT, SIGNED, ArrayPlace
from littoral.codec.packing import zstd
from littoral.codec.ranks import Grid, code_ranks
from littoral.codec.tables import Ints

FEWEST = 64
"""Elements below which the predictors have nothing to learn from."""
_PACE = 7
_GROUPS = 3
_FEW = 32
"""Values up to which an array has a codebook for certain."""
_SPARSE = 0.7
"""Share of elements up to which it can pay to code where they are."""
_FARTHEST = 128
"""The most steps from a pixel to the one below it."""
_SAMPLE = 2 * _FARTHEST


def ranks_of(raw: bytes, found: ArrayPlace, rounds: int, otherwise: int) -> RankCoding | None:
    """The cheapest way to code an array as ranks; None where it takes `otherwise` bytes or more.

    Args:
        rounds: vectors that this file may still hold; see BYTES_A_ROUND.
    """
    elements = _elements(raw, found.width)
    if not FEWEST <= len(elements) <= MAX_ELEMENTS:
        return None
    values, places, counts = np.unique(elements, return_inverse=True, return_counts=True)
    if len(values) < 2 or len(values) == len(elements):
        return None
    sparse = _sparse(elements, values[counts.argmax()], found, rounds, otherwise) if len(values) > _FEW else None
    otherwise = sparse.size if sparse is not None else otherwise
    if len(values) > MAX_VALUES or _least(counts) > otherwise:
        return sparse
    order = np.argsort(_keys(values, found), kind="stable")
    zero = int(counts[order].argmax())
    ranks = np.argsort(order, kind="stable")[places] - zero
    book = plan.Ranks(_grid(zero, len(values) - 1 - zero, ranks), found.width, zero, values[order], False)
    return _scanned(book, ranks, found.shape, rounds, otherwise) or sparse


@dataclass(frozen=True, slots=True)
class RankCoding:
    """A part, its ranks as (steps, lanes), the bytes of all of it, and its piece, the elements that have no codebook."""

    part: plan.Ranks
    ranks: Ints
    size: int
    literals: bytes = b""


def _sparse(elements: Values, usual: np.unsignedinteger, found: ArrayPlace, rounds: int, otherwise: int) -> RankCoding | None:
    """For one frequent value and many others: ranks say where the others are, and a piece holds them."""
    there = elements != usual
    if found.width == NIBBLE or there.mean() > _SPARSE:
        return None
    others = elements[there]
    literals = zstd(planes.split(others.tobytes(), others.itemsize), quick=False)
    book = plan.Ranks(_grid(0, 1, there), found.width, 0, np.array([usual]), False, len(literals))
    chosen = _scanned(book, there.astype(np.int64), found.shape, rounds, otherwise - len(literals))
    return None if chosen is None else replace(chosen, size=chosen.size + len(literals), literals=literals)


def _grid(below: int, above: int, ranks: npt.NDArray[Any]) -> Grid:
    share = float((ranks != 0).mean())
    return Grid(1, 1, 0, 0, 1, below, above, int(np.clip(round(8 * math.log((1 - share) / share)), -96, 96)), _PACE)


def _scanned(book: plan.Ranks, ranks: Ints, shape: tuple[int, ...], rounds: int, otherwise: int) -> RankCoding | None:
    """The cheapest grid of the codebook."""
    best = None
    about = len(plan.write([(0, book)]))
    least = 8.0 * (otherwise - about)

    def weigh(grid: Grid, steps_first: bool, table: Ints) -> None:
        nonlocal best, least
        if grid.rounds <= rounds and (bits := _bits(grid, table, least)) < math.inf:
            size = about + math.ceil(bits / 8)
            best, least = RankCoding(replace(book, grid=grid, steps_first=steps_first), table, size), bits

    for steps, lanes, steps_first in _tables(shape, len(ranks)):
        table = ranks.reshape(steps, lanes) if steps_first else ranks.reshape(lanes, steps).T
        weigh(_with_neighbours(replace(book.grid, steps=steps, lanes=lanes), shape, table), steps_first, table)
    if best is not None and best.part.grid.lanes >= 3 * _GROUPS:
        weigh(replace(best.part.grid, groups=_GROUPS), best.part.steps_first, best.ranks)
    return best


def _bits(grid: Grid, table: Ints, most: float) -> float:
    """Bits that coding the table takes; infinite where that is `most` or more."""
    meter = Meter(most)
    try:
        code_ranks(meter, grid, table)
    except TooManyBits:
        return math.inf
    return meter.bits


def _least(counts: Ints) -> float:
    """A lower bound on the bytes in practice: half the entropy of independent elements, and a codebook."""
    shares = counts / counts.sum()
    return float(-(np.log2(shares) * counts).sum() / 16) + len(counts)


def _with_neighbours(grid: Grid, shape: tuple[int, ...], table: Ints) -> Grid:
    """The grid with the best pitch and plane, judged by some steps from the middle."""
    tries = [replace(grid, pitch=pitch, plane=plane) for pitch, plane in _neighbourhoods(shape, table)]
    if len(tries) == 1:
        return tries[0]
    first = max(0, (len(table) - _SAMPLE) // 2)
    sample = table[first : first + _SAMPLE]
    fitting = [t for t in tries if 2 * t.pitch <= len(sample) and t.plane <= len(sample)]
    return min(fitting, key=lambda t: _bits(replace(t, steps=len(sample)), sample, math.inf))


def _elements(raw: bytes, width: int) -> Values:
    if width != NIBBLE:
        return np.frombuffer(raw, DTYPES[width])
    packed = np.frombuffer(raw, np.uint8)
    return np.stack([packed & 0xF, packed >> 4], axis=1).ravel()


def _keys(values: Values, found: ArrayPlace) -> Ints:
    """Whole numbers in the order of the values that the bits mean."""
    bits = 4 if found.width == NIBBLE else 8 * DTYPES[found.width].itemsize
    wholes, half = values.astype(np.int64), 1 << (bits - 1)
    if found.kind == FLOAT:
        return np.where(wholes >= half, half - 1 - wholes, wholes)
    return np.where(wholes >= half, wholes - 2 * half, wholes) if found.kind == SIGNED else wholes


def _tables(shape: tuple[int, ...], elements: int) -> Iterator[tuple[int, int, bool]]:
    """(steps, lanes, steps first): the ways to lay an array out as a table."""
    shape = tuple(size for size in shape if size != 1)
    if len(shape) < 2:
        lanes = next((n for n in (32, 16, 8) if elements % n == 0), 0)
        if lanes:
            yield elements // lanes, lanes, True
        return
    rows, columns = shape[0], elements // shape[0]
    if rows <= MAX_LANES:
        yield columns, rows, False
    if columns <= MAX_LANES and len(shape) == 2:
        yield rows, columns, True


def _neighbourhoods(shape: tuple[int, ...], table: Ints) -> list[tuple[int, int]]:
    """(pitch, plane) to try: of kernels from the shape, of images where ranks at this distance agree most."""
    steps = len(table)
    if len(shape) > 2 and shape[-1] > 1:
        pitch, plane = shape[-1], shape[-1] * shape[-2]
        return [(pitch if 2 * pitch <= steps else 0, plane if plane < steps else 0)]
    flags = np.sign(table).astype(np.float32)
    far = min(steps // 2, _FARTHEST)
    alike = np.array([0, 0, 0, *(float((flags[back:] * flags[:-back]).sum()) / (steps - back) for back in range(3, far + 1))])
    pitch = int(alike.argmax()) if len(alike) > 3 else 0
    return [(0, 0), (pitch, 0), (pitch, pitch * pitch)] if pitch and pitch * pitch * 2 <= steps else [(0, 0), (pitch, 0)]
