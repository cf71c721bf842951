"""Logarithm and logistic function as whole numbers: the same on every machine, so that a decoder predicts what the encoder did.

Natural units times UNIT. No entry lies near a half, so rounding gives the same table whatever the last bits of a machine's exp
and log (tests/unit/littoral/test_codec_tables.py holds their digest).
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

UNIT = 1024
FAR = 12 * UNIT
"""Log odds are kept within this."""
PRECISION = 24
"""Bits of a probability."""
LOG_BITS = 15
_LN2 = 710  # of UNIT


@cache
def _logs() -> Ints:
    """UNIT * ln(x) for x below 2 ** LOG_BITS; 0 for 0, which is never asked for."""
    logs: Ints = np.rint(UNIT * np.log(np.maximum(np.arange(1 << LOG_BITS), 1))).astype(np.int64)
    return logs


@cache
def _probabilities() -> Ints:
    """Probabilities of log odds from -FAR to FAR."""
    odds = np.exp(-np.arange(-FAR, FAR + 1) / UNIT)
    probabilities: Ints = np.clip(np.rint((1 << PRECISION) / (1 + odds)), 64, (1 << PRECISION) - 64).astype(np.int64)
    return probabilities


@cache
def logs_list() -> list[int]:
    numbers: list[int] = _logs().tolist()
    return numbers


@cache
def probabilities_list() -> list[int]:
    numbers: list[int] = _probabilities().tolist()
    return numbers


def log_small(x: Ints) -> Ints:
    """Of numbers from 1 that are below 2 ** LOG_BITS."""
    return _logs()[x]


def log(x: Ints) -> Ints:
    """Of any numbers from 1 below 2 ** 53, those of more than LOG_BITS bits to LOG_BITS bits."""
    excess = np.maximum(np.frexp(x.astype(np.float64))[1].astype(np.int64) - LOG_BITS, 0)
    logs: Ints = _logs()[x >> excess] + excess * _LN2
    return logs


def probability(odds: Ints) -> Ints:
    """Probability, of 2 ** PRECISION, of log odds."""
    probabilities: Ints = _probabilities()[np.minimum(np.maximum(odds, -FAR), FAR) + FAR]
    return probabilities
