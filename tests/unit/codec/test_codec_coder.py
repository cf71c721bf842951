"""Bits in, the same bits out, in as many bytes as their entropy: in Python, and in constriction where it is installed."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from littoral.codec import Undecodable, tables
from littoral.codec.coder import Decoder, Encoder, FastDecoder, Meter, TooManyBits, decoder_of
from littoral.codec.tables import FAR, PRECISION, log, log_small, probability

DECODERS = (Decoder, FastDecoder)
ALL = (1 << PRECISION) - 1


def drawn(seed: int, count: int) -> tuple[tables.Ints, tables.Ints]:
    """Chances, many of them near 0 or 1, and bits that keep to them now and then."""
    rng = np.random.default_rng(seed)
    probabilities = np.clip((rng.random(count) ** rng.choice([1, 8]) * ALL).astype(np.int64), 1, ALL)
    return probabilities, (rng.random(count) < (probabilities / ALL if seed % 2 else 0.5)).astype(np.int64)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 600))
def test_both_decoders_read_what_was_encoded_and_it_is_as_short_as_its_entropy(seed: int, count: int) -> None:
    probabilities, bits = drawn(seed, count)
    meter, encoder = Meter(), Encoder()
    for coder in (meter, encoder):
        coder.code(probabilities[: count // 2], bits[: count // 2])
        for one, bit in zip(probabilities[count // 2 :].tolist(), bits[count // 2 :].tolist(), strict=True):
            assert coder.bit(one, bit) == bit
    assert encoder.bits == pytest.approx(meter.bits, abs=0.1 + 0.006 * count)  # range >> 24 loses up to 1/256 of it, 0.0056 bits
    coded = encoder.finish()
    assert len(coded) <= meter.bits / 8 + 2
    for kind in DECODERS:
        decoder = kind(coded)
        assert [decoder.bit(one) for one in probabilities[: count // 2].tolist()] == bits[: count // 2].tolist()
        assert decoder.code(probabilities[count // 2 :]).tolist() == bits[count // 2 :].tolist()


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=40), st.integers(0, 1000))
def test_garbage_gives_both_decoders_the_same_bits_or_the_same_error(data: bytes, seed: int) -> None:
    probabilities, _ = drawn(seed, 200)
    outcomes = []
    for kind in DECODERS:
        try:
            outcomes.append(kind(data).code(probabilities).tolist())
        except Undecodable as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]


def test_a_carry_runs_through_all_words_that_are_written() -> None:
    rare = np.ones(2000, np.int64)  # always the upper end of the interval
    encoder = Encoder()
    encoder.code(ALL - rare, rare)
    encoder.code(rare, rare)
    coded = encoder.finish()
    for kind in DECODERS:
        decoder = kind(coded)
        assert decoder.code(ALL - rare).all()
        assert decoder.code(rare).all()


def test_a_meter_stops_at_its_limit() -> None:
    meter = Meter(10)
    half = np.full(8, 1 << (PRECISION - 1))
    meter.code(half, np.zeros(8, np.int64))
    assert meter.bits == 8
    with pytest.raises(TooManyBits):
        meter.code(half, np.zeros(8, np.int64))


def test_constriction_is_used_where_it_is_installed() -> None:
    assert isinstance(decoder_of(b""), FastDecoder)


def test_the_tables_are_the_same_on_every_machine() -> None:
    logs, probabilities = tables.logarithms(), tables.probabilities()
    digest = hashlib.sha256(logs.astype("<i8").tobytes() + probabilities.astype("<i8").tobytes()).hexdigest()
    assert digest == "d930010a11f91b5d3c50902d88dfe5c0570b7914ee983021c48cc141dd40e147"
    exact = tables.UNIT * np.log(np.arange(1, 1 << tables.LOG_BITS))
    assert np.abs(exact - np.floor(exact) - 0.5).min() > 1e-6  # a machine's last bits do not decide what is rounded up
    odds = (1 << PRECISION) / (1 + np.exp(-np.arange(-FAR, FAR + 1) / tables.UNIT))
    assert np.abs(odds - np.floor(odds) - 0.5).min() > 1e-6


@given(st.integers(1, 1 << 50))
def test_a_logarithm_of_a_large_number_is_near(x: int) -> None:
    assert abs(int(log(np.array([x]))[0]) / tables.UNIT - np.log(x)) < 0.02


def test_log_odds_and_chances_undo_each_other() -> None:
    odds = np.arange(-7000, 7001, 100)
    probabilities = probability(odds)
    back = log(probabilities) - log((1 << PRECISION) - probabilities)
    assert np.abs(back - odds).max() < 20
    assert probability(np.array([10**9, -(10**9)])).tolist() == [(1 << PRECISION) - 103, 103]
    assert log_small(np.array([1])).tolist() == [0]
