"""Small texts (a graph, a plan, a few biases) coded bit by bit, each bit predicted from the bytes before it in eight ways.

Context mixing as in M. Mahoney's PAQ6 (Florida Tech CS-2005-16): counts of each context, of which the contradicted one is cut,
mixed in the logistic domain by weights that are chosen by how many contexts were seen before. It takes a fifth off what zstd
makes of a graph of two kilobytes, at some 60 microseconds a byte: for texts of at most MAX_MIXED_BYTES. Whole numbers throughout.

A model may have read a dictionary beforehand (dictionary.py): it then begins a text with what it learnt there.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Protocol

from littoral.codec.coder import Coder
from littoral.codec.tables import FAR, PRECISION, UNIT, chances_list, logs_list

_WEIGHT = 16  # bits behind the point of a weight
_PACE = 16
_SEEN = 7  # what one observation adds to a count
_FIRST = 2  # what a count begins with
_MOST = 60 * _SEEN
_KEPT = 3 * _SEEN  # what a contradicted count may keep
_HALF = 16  # bits: where the second count of a cell begins
_LOW = (1 << _HALF) - 1
_UNSEEN = _FIRST << _HALF | _FIRST
_MATCH = 4  # equal bytes that make a match


class _Bits(Protocol):
    def bit(self, chance: int, bit: int | None) -> int: ...


class Text:
    """What was coded so far, and what is expected next."""

    def __init__(self) -> None:
        self.bytes = bytearray()
        self._contexts: list[dict[int, int]] = [{} for _ in range(7)]  # two counts in one number: a third of a list's memory
        self._weights = [[(1 << _WEIGHT) * 3 // 10] * 8 for _ in range(7 * 3)]
        self._places: dict[bytes, int] = {}  # behind each run of _MATCH bytes
        self._match, self._matched = 0, 0  # where the text goes on as it does here, and for how long it did

    def code(self, coder: _Bits, byte: int | None) -> int:
        """Codes the next byte, or gives it where it is None."""
        keys = self._keys()
        expected = self.bytes[self._match] | 256 if self._matched else 0
        node = 1
        for place in range(7, -1, -1):
            hint = 0
            if expected >> (place + 1) == node:
                hint = 1 if expected >> place & 1 else -1
            node = node << 1 | self._bit(coder, keys, node, hint, None if byte is None else byte >> place & 1)
        self._append(node & 0xFF)
        return node & 0xFF

    def copy(self) -> Text:
        """What goes on from here by itself."""
        other = Text()
        other.bytes, other._places = bytearray(self.bytes), dict(self._places)
        other._contexts = [dict(context) for context in self._contexts]
        other._weights = [list(weights) for weights in self._weights]
        other._match, other._matched = self._match, self._matched
        return other

    def _keys(self) -> tuple[int, ...]:
        last4, last3, last2, last = bytes(max(0, 4 - len(self.bytes))) + self.bytes[-4:]
        two = last << 8 | last2
        three = two << 8 | last3
        return 0, last, two, three, three << 8 | last4, last4 << 2 | len(self.bytes) & 3, last2 << 8 | last3

    def _bit(self, coder: _Bits, keys: tuple[int, ...], node: int, hint: int, bit: int | None) -> int:
        logs = logs_list()
        places, cells, sides, known = [key << 8 | node for key in keys], [], [], 0
        for place, context in zip(places, self._contexts, strict=True):
            cell = context.get(place)
            if cell is None:
                cell = _UNSEEN
                sides.append(0)
            else:
                known += 1
                sides.append(logs[cell >> _HALF] - logs[cell & _LOW])
            cells.append(cell)
        sides.append(hint * (logs[2 * min(self._matched, 15) + 1] + UNIT // 2))
        trust = 0 if not hint else 1 if self._matched < 8 else 2
        weights = self._weights[max(0, known - 1) * 3 + trust]
        odds = sum(map(int.__mul__, weights, sides)) >> _WEIGHT
        chance = chances_list()[max(-FAR, min(FAR, odds)) + FAR]
        bit = coder.bit(chance, bit)
        wrong = ((bit << PRECISION) - chance) >> (PRECISION - _WEIGHT)
        weights[:] = [weight + (side * wrong >> _PACE) for weight, side in zip(weights, sides, strict=True)]
        for place, context, cell in zip(places, self._contexts, cells, strict=True):
            zero, one = cell & _LOW, cell >> _HALF
            seen, other = (one + _SEEN, zero) if bit else (zero + _SEEN, one)
            if seen > _MOST:
                seen, other = (seen + 1) >> 1, (other + 1) >> 1
            if other > _KEPT:
                other = (other + _KEPT) >> 1
            context[place] = seen << _HALF | other if bit else other << _HALF | seen
        return bit

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


class _Reading:
    """A coder that codes nothing: what is read is known."""

    def bit(self, chance: int, bit: int | None) -> int:
        assert bit is not None
        return bit


def after(dictionary: bytes) -> Text:
    """A model that has read a dictionary."""
    model, reading = Text(), _Reading()
    for byte in dictionary:
        model.code(reading, byte)
    return model


_read = lru_cache(maxsize=8)(after)


def code_text(coder: Coder, text: bytes, dictionary: bytes = b"") -> None:
    """Codes a whole text. An encoder tries all dictionaries on each text: what a model learnt from one, some 3 MB, is kept."""
    model = _read(dictionary).copy()
    for byte in text:
        model.code(coder, byte)


def decoded(coder: Coder, dictionary: bytes = b"") -> Iterator[bytes]:
    """The bytes of a text, one by one, for as long as they are asked for."""
    model = after(dictionary)
    while True:
        yield bytes([model.code(coder, None)])
