"""The frame of a coded file: its first bytes, limits and varints, and a reader that stays within bounds. See docs/codec.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from littoral.codec.errors import Undecodable

NAME = "littoral-1"
"""What a manifest calls this coding."""

MAGIC = 0x4C
"""The first byte. No protobuf message begins with it: it would close a group that is not open."""

STORED, ZSTD, MIXED = range(3)
"""Methods: how the text is coded, that is the plan and all of the file that is no array."""
METHODS = 0x07
HAS_PLAN, HAS_LENGTH, HAS_DICTIONARY = 0x08, 0x10, 0x20
"""Flags beside the method: the number of a dictionary, the bytes of the plan, the bytes of the coded text follow."""

WINDOW_LOG = 20
"""zstd's window, 1 MiB: memory that decoding takes on a node, for files of any size."""
CHUNK = 1 << 18
MAX_PLAN_BYTES = 1 << 20
MAX_MIXED_BYTES = 1 << 14
"""Of a text in the method MIXED, which is coded bit by bit."""
MAX_DICTIONARIES = 127
"""The highest number that a dictionary may have: one byte."""
MAX_PARTS = 1 << 14
MAX_PIECE_BYTES = 1 << 22
MAX_LANES = 1 << 12
MAX_ELEMENTS = 1 << 22
"""Of one array of ranks."""
FREE_ROUNDS = 1 << 13
BYTES_A_ROUND = 1 << 8
"""A file may hold FREE_ROUNDS vectors of ranks, and one more for each BYTES_A_ROUND that it decodes to: this bounds the work."""


def is_coded(data: bytes) -> bool:
    """Whether these bytes claim to be coded; decoding may still find that they are damaged."""
    return data[:1] == bytes([MAGIC])


def varint(value: int) -> bytes:
    """A whole number from 0 in seven bits a byte, the low ones first, as protobuf writes it."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


@dataclass(slots=True)
class Reader:
    """Reads a source from `position` to `end` and never beyond. Raises Undecodable where bytes are missing."""

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
        """A reader of the next `count` bytes; this reader goes on after them."""
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
        """As a file: at most `count` of the bytes that are left; -1: all."""
        left = self.end - self.position
        return self.take(left if count < 0 else min(count, left))
