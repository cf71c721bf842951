"""One kind of yes-or-no, predicted from many sides at once and learnt while it is coded: logistic mixing of adaptive counts
(M. Mahoney: Adaptive Weighing of Context Models for Lossless Data Compression, Florida Tech CS-2005-16), a vector at a time.

All of it in whole numbers, so that a node on another processor learns exactly what the encoder learnt.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt

import numpy as np

from littoral.codec.coder import Coder
from littoral.codec.tables import LOG_BITS, PRECISION, UNIT, Ints, log_small, probability

STEP = 32
"""What one observation adds to a count."""
_FULL = 1 << LOG_BITS
_WEIGHT = 16  # bits behind the point of a weight
_BIAS = UNIT // 3


class BitPredictor:
    """Args:
    sizes: of each context's table.
    direct: predictions that come ready, as log odds.
    first: log odds before anything was seen.
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
        """Codes n bits; `contexts` and `direct` hold a vector of n each. Gives the bits."""
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
    """Two counts, one of which is small, whose odds are `first`."""
    share = int(probability(np.array([-abs(first)]))[0])
    rare = max(1, 2 * STEP * share >> PRECISION)
    often = min(_FULL // 2, max(1, rare * ((1 << PRECISION) - share) // share))
    return (rare, often) if first < 0 else (often, rare)
