"""Codes small texts (a graph, a plan, a few biases) bit by bit: context mixing as in M. Mahoney's PAQ6 (Florida Tech CS-2005-16).

The rules, in order, for each bit of a byte, the highest first:

1. Seven contexts, made of the bytes before and the bits of this byte so far, each have two counts, of zeros and ones; the opinion
   of a context is its log odds. The eighth opinion is that the text goes on as it did after the last run of _MATCH equal bytes.
2. The log odds of the bit are a weighted sum of the eight. The number of new contexts and the length of the match choose the
   weights.
3. The coder codes the bit. The weights move along the gradient of the cost.
4. Each context counts the bit. The count of the other bit is cut where it is large: what was contradicted counts less.

It makes of a graph of two kilobytes a fifth less than zstd does, at some 25 microseconds a byte: for texts of at most
MAX_MIXED_BYTES. All numbers are whole. A model may read a dictionary first (dictionary.py) and then knows what it learnt there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Protocol

from littoral.codec.coder import Coder, Encoder, TooManyBits
from littoral.codec.tables import FAR, PRECISION, UNIT, logs_list, probabilities_list

_WEIGHT = 16  # bits after the binary point of a weight
_PACE = 16
_SEEN = 7  # what one bit adds to a count
_FIRST = 2  # what a count begins with
_MOST = 60 * _SEEN
_KEPT = 3 * _SEEN  # beyond it, half of a contradicted count goes
_HALF = 16  # bits: where the second count of a cell begins
_LOW = (1 << _HALF) - 1
_UNSEEN = _FIRST << _HALF | _FIRST
_MATCH = 4  # equal bytes that make a match


class _BitCoder(Protocol):
    def bit(self, probability: int, bit: int | None) -> int: ...


class _LogOdds(dict[int, int]):
    """The log odds of the two counts in a cell, by cell."""

    def __missing__(self, cell: int) -> int:
        logs = logs_list()
        self[cell] = side = logs[cell >> _HALF] - logs[cell & _LOW]
        return side


class _Counted(dict[int, int]):
    """A cell after one more bit of this kind, by the cell before."""

    def __init__(self, bit: int) -> None:
        self._bit = bit

    def __missing__(self, cell: int) -> int:
        zero, one = cell & _LOW, cell >> _HALF
        seen, other = (one + _SEEN, zero) if self._bit else (zero + _SEEN, one)
        if seen > _MOST:
            seen, other = (seen + 1) >> 1, (other + 1) >> 1
        if other > _KEPT:
            other = (other + _KEPT) >> 1
        self[cell] = after = seen << _HALF | other if self._bit else other << _HALF | seen
        return after


_LOG_ODDS, _AFTER_ZERO, _AFTER_ONE = _LogOdds(), _Counted(0), _Counted(1)


class TextModel:
    """The bytes so far, and what they say of the next one."""

    def __init__(self) -> None:
        self.bytes = bytearray()
        self._contexts: list[dict[int, int]] = [
            {} for _ in range(7)
        ]  # both counts in one number: a third of the memory of a list
        self._weights = [[(1 << _WEIGHT) * 3 // 10] * 8 for _ in range(7 * 3)]
        self._places: dict[bytes, int] = {}  # after each run of _MATCH bytes
        self._match, self._matched = 0, 0  # where the text was the same before, and for how many bytes

    def code(self, coder: _BitCoder, byte: int | None) -> int:
        """Codes the next byte and returns it; None: decodes it.

        Each context is written out: loops take two and a half times as long, and packaging a network and installing it on a node
        mostly wait for this.
        """
        probabilities, sides, bit_of, weights, pace = probabilities_list(), _LOG_ODDS, coder.bit, self._weights, _PACE
        context0, context1, context2, context3, context4, context5, context6 = self._contexts
        key0, key1, key2, key3, key4, key5, key6 = self._keys()
        expected, sure, trust = self._expected()
        node = 1
        for place in range(7, -1, -1):
            p0, p1, p2, p3 = key0 | node, key1 | node, key2 | node, key3 | node
            p4, p5, p6 = key4 | node, key5 | node, key6 | node
            c0, c1, c2 = context0.get(p0, _UNSEEN), context1.get(p1, _UNSEEN), context2.get(p2, _UNSEEN)
            c3, c4, c5 = context3.get(p3, _UNSEEN), context4.get(p4, _UNSEEN), context5.get(p5, _UNSEEN)
            c6 = context6.get(p6, _UNSEEN)
            s0, s1, s2, s3, s4, s5, s6 = sides[c0], sides[c1], sides[c2], sides[c3], sides[c4], sides[c5], sides[c6]
            s7 = 0 if expected >> (place + 1) != node else sure if expected >> place & 1 else -sure
            unseen = (c0, c1, c2, c3, c4, c5, c6).count(_UNSEEN)
            chosen = (6 - unseen if unseen < 6 else 0) * 3 + (trust if s7 else 0)
            w0, w1, w2, w3, w4, w5, w6, w7 = weights[chosen]
            odds = (w0 * s0 + w1 * s1 + w2 * s2 + w3 * s3 + w4 * s4 + w5 * s5 + w6 * s6 + w7 * s7) >> _WEIGHT
            probability = probabilities[FAR + odds if -FAR < odds < FAR else 0 if odds < 0 else 2 * FAR]
            bit = bit_of(probability, None if byte is None else byte >> place & 1)
            wrong = ((bit << PRECISION) - probability) >> (PRECISION - _WEIGHT)
            weights[chosen] = [
                w0 + (s0 * wrong >> pace),
                w1 + (s1 * wrong >> pace),
                w2 + (s2 * wrong >> pace),
                w3 + (s3 * wrong >> pace),
                w4 + (s4 * wrong >> pace),
                w5 + (s5 * wrong >> pace),
                w6 + (s6 * wrong >> pace),
                w7 + (s7 * wrong >> pace),
            ]
            after = _AFTER_ONE if bit else _AFTER_ZERO
            context0[p0], context1[p1], context2[p2], context3[p3] = after[c0], after[c1], after[c2], after[c3]
            context4[p4], context5[p5], context6[p6] = after[c4], after[c5], after[c6]
            node = node << 1 | bit
        self._append(node & 0xFF)
        return node & 0xFF

    def _expected(self) -> tuple[int, int, int]:
        """(the byte after the match, with a 1 before its bits; its log odds; 0 no match, 1 a short one, 2 a long one)"""
        if not self._matched:
            return 0, 0, 0
        sure = logs_list()[2 * min(self._matched, 15) + 1] + UNIT // 2
        return self.bytes[self._match] | 256, sure, 1 if self._matched < 8 else 2

    def copy(self) -> TextModel:
        """A model that goes on from here alone."""
        other = TextModel()
        other.bytes, other._places = bytearray(self.bytes), dict(self._places)
        other._contexts = [dict(context) for context in self._contexts]
        other._weights = [list(weights) for weights in self._weights]
        other._match, other._matched = self._match, self._matched
        return other

    def _keys(self) -> list[int]:
        last4, last3, last2, last = bytes(max(0, 4 - len(self.bytes))) + self.bytes[-4:]
        two = last << 8 | last2
        three = two << 8 | last3
        keys = 0, last, two, three, three << 8 | last4, last4 << 2 | len(self.bytes) & 3, last2 << 8 | last3
        return [key << 8 for key in keys]

    def _append(self, byte: int) -> None:
        if self._matched and self.bytes[self._match] == byte:
            self._match, self._matched = self._match + 1, self._matched + 1
        else:
            self._matched = 0
        self.bytes.append(byte)
        if len(self.bytes) >= _MATCH:
            run = bytes(self.bytes[-_MATCH:])
            if not self._matched and run in self._places:
                self._match, self._matched = self._places[run], _MATCH
            self._places[run] = len(self.bytes)


class _NoCoder:
    """Codes nothing: for a text that the model only reads."""

    def bit(self, probability: int, bit: int | None) -> int:
        assert bit is not None
        return bit


@lru_cache(maxsize=8)
def _read(dictionary: bytes) -> TextModel:
    """A model that has read a dictionary; copy it before it goes on."""
    model, reading = TextModel(), _NoCoder()
    for byte in dictionary:
        model.code(reading, byte)
    return model


def code_text(coder: Encoder, text: bytes, dictionary: bytes = b"", *, most: float = math.inf) -> None:
    """Codes a whole text. The models after each dictionary, some 3 MB each, stay in memory, for an encoder tries them all.

    Raises TooManyBits where the coder has reached `most` bits.
    """
    model = _read(dictionary).copy()
    for byte in text:
        model.code(coder, byte)
        if coder.bits >= most:
            raise TooManyBits


def decoded(coder: Coder, dictionary: bytes = b"") -> Iterator[bytes]:
    """The bytes of a text, one by one, without end: the caller knows how many there are."""
    model = _read(dictionary).copy()
    while True:
        yield bytes([model.code(coder, None)])
