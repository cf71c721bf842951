"""A binary range coder: bits and their probabilities to bytes, and back.

It is `queue::RangeCoder` of the `constriction` package with 32-bit words and a 64-bit state (R. Bamler: Understanding Entropy
Coding With Asymmetric Numeral Systems, arXiv 2201.01741). constriction decodes what is written here, bit for bit, at twice the
speed, and does so where it is installed. It has no wheel for Linux on arm64, so a decoder in Python is here as well.

The rules, in order. All numbers are whole; p is the probability of a 1, times 2^24:

1. The encoder has an interval of a number line of 64 bits, from `low` on, `range` wide. It begins with 0 and 2^64 - 1.
2. Each bit cuts the interval: the lower (range >> 24) * (2^24 - p) is for a 0, the next (range >> 24) * p for a 1. The part of
   the bit that came is the new interval: a likely bit leaves much of it, an unlikely one little.
3. A range below 2^32 has settled the upper 32 bits of `low`, but for a carry: they are written as a word, and both numbers move
   up by 32 bits.
4. At the end, the encoder writes the shortest bytes which, with zeros behind them, are a point in the interval.

The decoder makes the same cuts. Each bit is the part in which the point lies.

Two bits, each with probability 1/4 of a 1: a 1 leaves the uppermost quarter, from 3/4 on; a 0 leaves the lower three quarters of
that, from 3/4 to 15/16. The shortest point in there is 3/4, binary 0.11, one byte:

    >>> encoder = Encoder()
    >>> _ = encoder.bit(1 << 22, 1), encoder.bit(1 << 22, 0)
    >>> encoder.finish().hex()
    'c0'
    >>> decoder = Decoder(bytes.fromhex("c0"))
    >>> decoder.bit(1 << 22), decoder.bit(1 << 22)
    (1, 0)
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np

from littoral.codec.errors import Undecodable
from littoral.codec.tables import PRECISION, Ints

_WHOLE = 1 << 64
_LOW = 1 << 32
_ONE = 1 << PRECISION


class Coder(Protocol):
    """What a model codes its bits with: an Encoder, a decoder, or a Meter, which only counts what encoding would cost."""

    def code(self, probabilities: Ints, bits: Ints | None) -> Ints:
        """Encodes `bits` and returns them; where `bits` is None, decodes and returns them.

        Args:
            probabilities: (n,), of a 1, times 2 ** PRECISION, neither 0 nor 1.
        """
        ...

    def bit(self, probability: int, bit: int | None) -> int:
        """The same for one bit."""
        ...


class TooManyBits(Exception):
    """Coding it takes more bits than another way that is known already."""


class Meter:
    """Counts the bits that encoding would take. Raises TooManyBits where they reach `most`."""

    def __init__(self, most: float = math.inf) -> None:
        self.bits = 0.0
        self._most = most

    def code(self, probabilities: Ints, bits: Ints | None) -> Ints:
        assert bits is not None
        self.bits -= float(np.log2(np.where(bits == 1, probabilities, _ONE - probabilities) / _ONE).sum())
        if self.bits >= self._most:
            raise TooManyBits
        return bits

    def bit(self, probability: int, bit: int | None) -> int:
        assert bit is not None
        self.bits -= math.log2((probability if bit else _ONE - probability) / _ONE)
        if self.bits >= self._most:
            raise TooManyBits
        return bit


class Encoder:
    """Bits to bytes; see the rules above."""

    def __init__(self) -> None:
        self._low, self._range = 0, _WHOLE - 1
        self._words: list[int] = []

    def code(self, probabilities: Ints, bits: Ints | None) -> Ints:
        assert bits is not None
        self._code(zip(probabilities.tolist(), bits.tolist(), strict=True))
        return bits

    def _code(self, pairs: Iterable[tuple[int, int]]) -> None:
        low, span, words = self._low, self._range, self._words
        for one, bit in pairs:
            scale = span >> PRECISION
            zero = scale * (_ONE - one)
            if bit:
                low += zero
                span = scale * one
            else:
                span = zero
            if span < _LOW:
                span <<= 32
                words.append(low >> 32)  # may have 33 bits: `finish` carries
                low = (low & (_LOW - 1)) << 32
        self._low, self._range = low, span

    def bit(self, probability: int, bit: int | None) -> int:
        assert bit is not None
        self._code(((probability, bit),))
        return bit

    @property
    def bits(self) -> float:
        """The bits that all so far takes."""
        return 32 * len(self._words) + 64 - math.log2(self._range)

    def finish(self) -> bytes:
        """The coded bytes. Nothing may be coded after this."""
        end = self._low
        for bits in range(0, 65, 8):
            end = -(-self._low >> (64 - bits)) << (64 - bits)  # rounded up to `bits` bits
            if end < self._low + self._range:
                break
        words = [*self._words, end >> 32, end & (_LOW - 1)]
        for i in range(len(words) - 1, 0, -1):
            words[i - 1] += words[i] >> 32
            words[i] &= _LOW - 1
        return np.array(words, ">u4").tobytes().rstrip(b"\0")


class Decoder:
    """Bytes to bits, in Python alone."""

    def __init__(self, data: bytes) -> None:
        padded = data + bytes(-len(data) % 4 + 8)
        self._words = [int.from_bytes(padded[i : i + 4], "big") for i in range(0, len(padded), 4)]
        self._words.reverse()
        self._above = (self._words.pop() << 32) + self._words.pop()  # from the interval's start to the coded point
        self._range = _WHOLE - 1

    def code(self, probabilities: Ints, bits: Ints | None = None) -> Ints:
        return np.array(self._code(probabilities.tolist()), np.int64)

    def bit(self, probability: int, bit: int | None = None) -> int:
        return self._code((probability,))[0]

    def _code(self, probabilities: Iterable[int]) -> list[int]:
        above, span, words = self._above, self._range, self._words
        out = []
        for one in probabilities:
            scale = span >> PRECISION
            zero = scale * (_ONE - one)
            if above < zero:
                span = zero
                out.append(0)
            else:
                above -= zero
                span = scale * one
                if above >= span:
                    raise Undecodable("coded bytes: no bit was coded like this")
                out.append(1)
            if span < _LOW:
                span <<= 32
                above = (above << 32) + (words.pop() if words else 0)
        self._above, self._range = above, span
        return out


class FastDecoder:
    """Bytes to bits, by constriction."""

    def __init__(self, data: bytes) -> None:
        import constriction

        stream: Any = getattr(constriction, "stream")  # noqa: B009 - made by native code at import
        padded = data + bytes(-len(data) % 4)
        self._one = stream.model.Bernoulli
        self._many = self._one(perfect=False)
        self._decoder = stream.queue.RangeDecoder(np.frombuffer(padded, ">u4").astype(np.uint32))

    def code(self, probabilities: Ints, bits: Ints | None = None) -> Ints:
        if not len(probabilities):
            return probabilities
        try:
            return np.asarray(self._decoder.decode(self._many, _ours_as_theirs(probabilities)), np.int64)
        except AssertionError as error:
            raise Undecodable("coded bytes: no bit was coded like this") from error

    def bit(self, probability: int, bit: int | None = None) -> int:
        try:
            return int(self._decoder.decode(self._one(_ours_as_theirs(probability), perfect=False)))
        except AssertionError as error:
            raise Undecodable("coded bytes: no bit was coded like this") from error


def _ours_as_theirs(probabilities: Any) -> Any:
    """As constriction takes them: it turns a float p into the whole number 1 + floor((1 - p) * (2 ** 24 - 2)) for a 0. This
    is the float in the middle of those that become our number."""
    return 1.0 - (_ONE - probabilities - 0.5) / (_ONE - 2)


def decoder_of(data: bytes) -> Coder:
    """The fastest decoder that is installed."""
    return FastDecoder(data) if find_spec("constriction") is not None else Decoder(data)
