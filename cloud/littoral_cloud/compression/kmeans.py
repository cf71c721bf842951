"""Quantises values to a few levels: k-means and uniform steps in one dimension, with or without a price for the code of a level.

Levels begin evenly between the least and the largest value, which keeps the large ones (S. Han et al., Deep Compression,
https://arxiv.org/abs/1510.00149, section 3.2), and move to the means of their members (S. Lloyd, 1982). With a price, a value
goes where its squared error plus the price of the level's code is least: P. Chou, T. Lookabaugh, R. Gray: Entropy-constrained
Vector Quantization, IEEE Trans. ASSP 37(1), 1989; for weights: Y. Choi et al., https://arxiv.org/abs/1612.01543.

The order of the arithmetic is fixed: the same values give the same levels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
_ROUNDS = 100
_BEYOND = 0.1  # of a doubling: how far a value may be beyond the last level
HALF_DIGITS = 11
"""Significant bits of a float16."""
_STEP_BITS = 6  # significant bits of a uniform step: with 5 bits of a code, the product is exact in float16


@dataclass(frozen=True, slots=True, eq=False)
class Quantiser:
    """Levels, and how they move.

    values: the levels, in any order. codes: of uniform steps, the number of steps of each level; None: each level moves alone.
    zero: the index of the level that is 0 and stays 0; None: no level. fixed: the levels do not move.
    """

    values: Floats
    codes: Floats | None = None
    zero: int | None = None
    fixed: bool = False

    def assign(self, x: npt.NDArray[Any], prices: Floats | None = None, guess: Indices | None = None) -> Indices:
        """The index of each x's level: the nearest one, or with `prices` the one of least squared error plus price.

        `guess`: the indices before. They make it ten times as fast where few change, and change no result.
        """
        order = np.argsort(self.values, kind="stable")
        values = self.values[order]
        if prices is None:
            borders = (values[1:] + values[:-1]) / 2
        else:
            borders, cheapest = _borders(values, prices[order])
            order = order[cheapest]
        if guess is None:
            return np.take(order, np.searchsorted(borders, x))
        low, high = np.full(len(values), np.inf), np.full(len(values), -np.inf)
        low[order] = np.concatenate([[-np.inf], borders])
        high[order] = np.concatenate([borders, [np.inf]])
        gone = np.flatnonzero((x <= np.take(low, guess)) | (x > np.take(high, guess)))
        index = guess.copy()
        index[gone] = np.take(order, np.searchsorted(borders, x[gone]))
        return index

    def moved(self, x: npt.NDArray[Any], index: Indices) -> Quantiser:
        """With each level at the mean of its members; a level without members stays."""
        if self.fixed:
            return self
        counts = np.bincount(index, minlength=len(self.values))
        sums = np.bincount(index, weights=x, minlength=len(self.values))
        if self.codes is not None:
            square = float(counts @ np.square(self.codes))
            step = float(sums @ self.codes) / square if square else 0.0
            return replace(self, values=self.codes * step) if step > 0 else self
        values = np.where(counts > 0, sums / np.maximum(counts, 1), self.values)
        if self.zero is not None:
            values[self.zero] = 0.0
        return replace(self, values=values)

    def rounded(self, digits: int) -> npt.NDArray[np.float32]:
        """The levels for a network: float32 with `digits` significant bits (of uniform steps the step has them, at most
        _STEP_BITS). Up to HALF_DIGITS, float16 holds them exactly. Never -0."""
        if digits > HALF_DIGITS:
            values = _to_digits(self.values, digits)
        elif self.codes is None:
            values = _to_digits(self.values, digits).astype(np.float16)
        else:
            step = _to_digits(np.array(self.values[-1] / self.codes[-1]), min(digits, _STEP_BITS))
            values = (self.codes * step).astype(np.float16)
        return values.astype(np.float32) + np.float32(0)


def _to_digits(values: Floats, digits: int) -> Floats:
    fractions, exponents = np.frexp(values)
    rounded: Floats = np.ldexp(np.round(np.ldexp(fractions, digits)), exponents - digits)
    return rounded


def k_means(x: npt.NDArray[Any], count: int, *, zero: bool = False) -> Quantiser:
    """`count` levels for these values, and with `zero` one more that is 0."""
    line = np.sort(x.astype(np.float64))
    sums = np.concatenate([[0.0], np.cumsum(line)])
    values = np.linspace(line[0], line[-1], count)
    for _ in range(_ROUNDS):
        ends = np.concatenate([[0], np.searchsorted(line, (values[1:] + values[:-1]) / 2, side="right"), [len(line)]])
        counts = np.diff(ends)
        means = np.where(counts > 0, np.diff(sums[ends]) / np.maximum(counts, 1), values)
        means = np.sort(means)
        if np.array_equal(means, values):
            break
        values = means
    if not zero:
        return Quantiser(values)
    place = int(np.searchsorted(values, 0.0))
    return Quantiser(np.insert(values, place, 0.0), zero=place)


def uniform(x: npt.NDArray[Any], bits: int) -> Quantiser:
    """Levels of -(2^(bits-1) - 1) to 2^(bits-1) - 1 steps, the step chosen for the least squared error."""
    most = 2 ** (bits - 1) - 1
    codes = np.arange(-most, most + 1, dtype=np.float64)
    line = np.sort(x.astype(np.float64))
    peak = max(abs(line[0]), abs(line[-1])) / most

    def error(step: float) -> float:
        return float(np.square(line - step * np.clip(np.round(line / step), -most, most)).sum())

    step = min((peak * share for share in np.linspace(0.1, 1.0, 46)), key=error)
    levels = Quantiser(codes * step, codes, zero=most)
    for _ in range(_ROUNDS):
        after = levels.moved(line, levels.assign(line))
        if np.array_equal(after.values, levels.values):
            break
        levels = after
    return levels


def binary(x: npt.NDArray[Any], bits: int) -> Quantiser:
    """Levels of -(2^(bits-1) - 1) to 2^(bits-1) - 1 steps of a power of two, the smallest with which none is much too far away:
    in float32 such a value has two bytes that are 0, and one that few others have."""
    most = 2 ** (bits - 1) - 1
    codes = np.arange(-most, most + 1, dtype=np.float64)
    step = 2.0 ** math.ceil(math.log2(max(float(np.abs(x).max()), 2.0**-20) / most) - _BEYOND)
    return Quantiser(codes * step, codes, zero=most, fixed=True)


def prices(index: Indices, levels: Quantiser, zeros: int) -> Floats:
    """The bits of an ideal code for each level, by how often it is used; `zeros`: more values that are 0."""
    counts = np.bincount(index, minlength=len(levels.values)).astype(np.float64)
    total = counts.sum() + zeros
    if levels.zero is not None:
        counts[levels.zero] += zeros
    bits: Floats = np.log2(total + len(counts)) - np.log2(counts + 1.0)
    return bits


def _borders(values: Floats, price: Floats) -> tuple[Floats, Indices]:
    """(borders, indices): the ascending levels that are the cheapest for some x, and the x between each two of them.

    (x - v)^2 + p is least where v^2 + p - 2 v x is least: the lower envelope of lines whose slope falls as v grows.
    """
    heights = values * values + price
    cheapest: list[int] = []
    starts: list[float] = []  # from which x on each is the cheapest
    for place in range(len(values)):
        start = -np.inf
        while cheapest:
            gap, rise = float(values[place] - values[cheapest[-1]]), float(heights[place] - heights[cheapest[-1]])
            # Of two equal levels the cheaper one is the cheapest everywhere.
            start = rise / (2 * gap) if gap > 0 else np.inf if rise >= 0 else -np.inf
            if start > starts[-1]:
                break
            cheapest.pop()
            starts.pop()
            start = -np.inf
        if start < np.inf:
            cheapest.append(place)
            starts.append(start)
    return np.array(starts[1:]), np.array(cheapest, np.int64)
