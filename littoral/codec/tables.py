"""Logarithm and logistic function in whole numbers: the same on every machine, so that a decoder predicts what the encoder did.

Logarithms and log odds are natural, times UNIT. No entry lies near a half, so that every machine rounds it alike, though the last
bits of its exp and log differ (tests/unit/codec/test_codec_coder.py has the digest of the tables).
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

UNIT = 1024
FAR = 12 * UNIT
"""Log odds stay between -FAR and FAR."""
PRECISION = 24
"""Bits of a probability: it is a whole number of 2 ** -PRECISION."""
LOG_BITS = 15
_LN2 = 710  # of UNIT


@cache
def logarithms() -> Ints:
    """UNIT * ln(x) for x below 2 ** LOG_BITS; the entry for 0 is never used."""
    logs: Ints = np.rint(UNIT * np.log(np.maximum(np.arange(1 << LOG_BITS), 1))).astype(np.int64)
    return logs


@cache
def probabilities() -> Ints:
    """Probabilities of log odds from -FAR to FAR."""
    odds = np.exp(-np.arange(-FAR, FAR + 1) / UNIT)
    table: Ints = np.clip(np.rint((1 << PRECISION) / (1 + odds)), 64, (1 << PRECISION) - 64).astype(np.int64)
    return table


@cache
def logs_list() -> list[int]:
    numbers: list[int] = logarithms().tolist()
    return numbers


@cache
def probabilities_list() -> list[int]:
    numbers: list[int] = probabilities().tolist()
    return numbers


def log_small(x: Ints) -> Ints:
    """The logarithm of numbers from 1 to below 2 ** LOG_BITS."""
    return logarithms()[x]


def log(x: Ints) -> Ints:
    """The logarithm of numbers from 1 to below 2 ** 53, from their LOG_BITS highest bits."""
    excess = np.maximum(np.frexp(x.astype(np.float64))[1].astype(np.int64) - LOG_BITS, 0)
    logs: Ints = logarithms()[x >> excess] + excess * _LN2
    return logs


def probability(odds: Ints) -> Ints:
    """The probability, times 2 ** PRECISION, of log odds: the logistic function."""
    found: Ints = probabilities()[np.minimum(np.maximum(odds, -FAR), FAR) + FAR]
    return found
