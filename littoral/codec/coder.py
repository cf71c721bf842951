"""Bits and their probabilities to bytes and back: the range coder of the `constriction` package (R. Bamler: Understanding
Entropy Coding With Asymmetric Numeral Systems, arXiv 2201.01741; its queue::RangeCoder with 32-bit words and 64-bit state).

What is written here can be read by constriction, bit for bit, and is where it is installed, at twice the speed. There is no
wheel of it for Linux on arm64, so that the same coder stands here in Python as well.
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
    """One model runs with three of these: to encode, to decode, and to learn what encoding would cost."""

    def code(self, probabilities: Ints, bits: Ints | None) -> Ints:
        """Takes the `bits`, or gives them where they are None. `probabilities`: of a 1, times 2 ** PRECISION, neither 0 nor 1."""
        ...

    def bit(self, probability: int, bit: int | None) -> int:
        """The same for one."""
        ...


class TooManyBits(Exception):
    """What is metered costs more than a cheaper way that is known."""


class Meter:
    """Counts the bits that encoding would take, up to `most`; then it raises TooManyBits."""

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
        """That were needed so far."""
        return 32 * len(self._words) + 64 - math.log2(self._range)

    def finish(self) -> bytes:
        """The shortest bytes which, followed by zeros, lie in the interval that is left."""
        end = self._low
        for kept in range(0, 65, 8):
            end = -(-self._low >> (64 - kept)) << (64 - kept)  # rounded up to `kept` bits
            if end < self._low + self._range:
                break
        words = [*self._words, end >> 32, end & (_LOW - 1)]
        for i in range(len(words) - 1, 0, -1):
            words[i - 1] += words[i] >> 32
            words[i] &= _LOW - 1
        return np.array(words, ">u4").tobytes().rstrip(b"\0")


class Decoder:
    """The same in Python alone."""

    def __init__(self, data: bytes) -> None:
        padded = data + bytes(-len(data) % 4 + 8)
        self._words = [int.from_bytes(padded[i : i + 4], "big") for i in range(0, len(padded), 4)]
        self._words.reverse()
        self._above = (self._words.pop() << 32) + self._words.pop()  # of the coded point above the interval's start
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
    """constriction's."""

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
    """constriction makes of a p the whole number 1 + floor((1 - p) * (2 ** 24 - 2)) for a zero: the p in the middle of ours."""
    return 1.0 - (_ONE - probabilities - 0.5) / (_ONE - 2)


def decoder_of(data: bytes) -> Coder:
    return FastDecoder(data) if find_spec("constriction") is not None else Decoder(data)
