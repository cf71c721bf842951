"""The frame of a coded file: its first bytes, varints, and the one error of whatever is wrong in it. See docs/codec.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from littoral.codec.errors import Undecodable

NAME = "littoral-1"
"""What a manifest calls this coding."""

MAGIC = 0x4C
"""The first byte. No protobuf message begins with it (it would be the end of a group that nobody opened)."""

STORED, ZSTD, MIXED = range(3)
"""How the text is coded: what is no array, and the plan of what is."""
METHODS = 0x07
HAS_PLAN, HAS_LENGTH, HAS_DICTIONARY = 0x08, 0x10, 0x20
"""Flags beside the method. The number of a dictionary that both sides have (dictionary.py) follows its flag."""

WINDOW_LOG = 20
"""zstd's window, 1 MiB: what a node's memory gives for decoding, whatever the size of the file."""
CHUNK = 1 << 18
MAX_PLAN_BYTES = 1 << 20
MAX_MIXED_BYTES = 1 << 14
"""Of a text that is coded bit by bit."""
MAX_DICTIONARIES = 127
"""The highest number that a dictionary may have: one byte."""
MAX_PARTS = 1 << 14
MAX_PIECE_BYTES = 1 << 22
MAX_LANES = 1 << 12
MAX_ELEMENTS = 1 << 22
"""Of one array of ranks."""
FREE_ROUNDS = 1 << 13
BYTES_A_ROUND = 1 << 8
"""A file may ask for FREE_ROUNDS vectors of ranks and one more for each BYTES_A_ROUND that it decodes to: its work is bounded."""


def is_coded(data: bytes) -> bool:
    """Whether bytes that may be either are coded ones; decoding them may still show that they are damaged."""
    return data[:1] == bytes([MAGIC])


def varint(value: int) -> bytes:
    """Seven bits a byte, the low ones first, as protobuf writes it."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


@dataclass(slots=True)
class Reader:
    """Reads from `position` up to `end`, never beyond. Raises Undecodable where bytes are missing."""

    source: BinaryIO
    position: int
    end: int

    def take(self, count: int) -> bytes:
        if count < 0 or count > self.end - self.position:
            raise Undecodable(f"coded bytes: cut at byte {self.end}, {count} are wanted from {self.position}")
        self.source.seek(self.position)
        data = self.source.read(count)
        if len(data) != count:
            raise Undecodable(f"coded bytes: the file ended at byte {self.position + len(data)}")
        self.position += count
        return data

    def part(self, count: int) -> Reader:
        """A reader of the next `count` bytes; this one goes on behind them."""
        if count < 0 or count > self.end - self.position:
            raise Undecodable(f"coded bytes: cut at byte {self.end}, {count} are wanted from {self.position}")
        self.position += count
        return Reader(self.source, self.position - count, self.position)

    def byte(self) -> int:
        return self.take(1)[0]

    def varint(self, most: int, what: str) -> int:
        """A number from 0 to `most`."""
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if value > most or shift > 63:
                raise Undecodable(f"coded bytes: {what} is over {most}")
            if byte < 0x80:
                return value

    def read(self, count: int = -1) -> bytes:
        """As a file: what is left, at most `count` bytes."""
        left = self.end - self.position
        return self.take(left if count < 0 else min(count, left))
