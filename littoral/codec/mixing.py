"""Predicts bits from several contexts at once, and learns while it codes them: logistic mixing of adaptive counts (M. Mahoney:
Adaptive Weighing of Context Models for Lossless Data Compression, Florida Tech CS-2005-16), a vector of bits at a time.

The rules, in order, for each vector of n bits:

1. Each context names a cell of its table for each bit. A cell counts the zeros and ones that came there before; its opinion is
   the log odds ln(ones) - ln(zeros).
2. The log odds of a bit are a weighted sum of the opinions, of predictions that the caller brings (`direct`), and of a constant.
   The logistic function makes a probability of them.
3. The coder codes the n bits with these probabilities.
4. Each weight moves along the gradient of the cost, the sum of opinion * (bit - probability), over sqrt(n) and 2 ** pace.
5. Each bit adds STEP to its count in each of its cells. A cell that is full halves both counts, so that it can still change.

Encoder and decoder do all this alike and so predict alike. All numbers are whole: another processor learns exactly the same.

One context of two cells; in cell 0 the bit is always 1, in cell 1 always 0. Two bits cost two bits at first, then ever less:

    >>> from littoral.codec.coder import Meter
    >>> predictor, meter = BitPredictor([2], direct=0, first=0, pace=7), Meter()
    >>> def cost() -> float:
    ...     before = meter.bits
    ...     predictor.code(meter, [np.array([0, 1])], [], np.array([1, 0]))
    ...     return round(meter.bits - before, 2)
    >>> [cost() for _ in range(5)]
    [2.0, 1.17, 0.83, 0.64, 0.52]
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt

import numpy as np

from littoral.codec.coder import Coder
from littoral.codec.tables import LOG_BITS, PRECISION, UNIT, Ints, log_small, probability

STEP = 32
"""What one bit adds to a count."""
_FULL = 1 << LOG_BITS
_WEIGHT = 16  # bits after the binary point of a weight
_BIAS = UNIT // 3


class BitPredictor:
    """Predicts one kind of bit; see the rules above.

    Args:
        sizes: cells of each context's table.
        direct: how many predictions the caller brings, as log odds.
        first: log odds of a cell that has no count yet.
        pace: of learning the weights; they move by 2 ** -pace.
    """

    def __init__(self, sizes: Sequence[int], direct: int, first: int, pace: int) -> None:
        self._places = np.concatenate([[0], np.cumsum(sizes)])[:-1].astype(np.int64)[:, None]
        self._cells = int(sum(sizes))
        one, zero = beginning(first)
        self._ones = np.full(self._cells, one, np.int64)
        self._zeros = np.full(self._cells, zero, np.int64)
        inputs = len(sizes) + direct
        self._weights = np.full(inputs + 1, (1 << _WEIGHT) // inputs, np.int64)
        self._weights[-1] = 0
        self._pace = pace

    def code(self, coder: Coder, contexts: Sequence[Ints], direct: Sequence[Ints], bits: Ints | None) -> Ints:
        """Codes n bits and returns them; `bits` None: decodes them.

        Args:
            contexts: cells, (n,) for each context. direct: log odds, (n,) for each.
        """
        cells = np.stack(contexts) + self._places
        count = cells.shape[1]
        sides = np.empty((len(self._weights), count), np.int64)
        sides[: len(cells)] = log_small(self._ones[cells]) - log_small(self._zeros[cells])
        for place, side in enumerate(direct, len(cells)):
            sides[place] = side
        sides[-1] = _BIAS
        probabilities = probability(self._weights @ sides >> _WEIGHT)
        bits = coder.code(probabilities, bits)
        wrong = ((bits << PRECISION) - probabilities) >> (PRECISION - _WEIGHT)
        self._weights += (sides @ wrong) // (isqrt(count) * UNIT << self._pace)
        self._ones += STEP * np.bincount(cells[:, bits == 1].ravel(), minlength=self._cells)
        self._zeros += STEP * np.bincount(cells[:, bits == 0].ravel(), minlength=self._cells)
        while (full := self._ones + self._zeros >= _FULL).any():
            self._ones[full] = (self._ones[full] + 1) >> 1
            self._zeros[full] = (self._zeros[full] + 1) >> 1
        return bits


def beginning(first: int) -> tuple[int, int]:
    """(ones, zeros): two counts with these log odds, one of them small."""
    share = int(probability(np.array([-abs(first)]))[0])
    rare = max(1, 2 * STEP * share >> PRECISION)
    often = min(_FULL // 2, max(1, rare * ((1 << PRECISION) - share) // share))
    return (rare, often) if first < 0 else (often, rare)
