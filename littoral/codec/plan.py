"""The plan of a coded file: its parts in order, arrays of ranks and pieces of byte planes, with the bytes of text before each."""

from __future__ import annotations

from dataclasses import dataclass

from littoral.codec import codebook
from littoral.codec.codebook import DTYPES, NIBBLE, Values
from littoral.codec.container import (
    BYTES_A_ROUND,
    FREE_ROUNDS,
    MAX_ELEMENTS,
    MAX_LANES,
    MAX_PARTS,
    MAX_PIECE_BYTES,
    Reader,
    varint,
)
from littoral.codec.errors import Undecodable
from littoral.codec.ranks import Grid

_PIXELS = 0x40
_STEPS_FIRST = 0x20


@dataclass(frozen=True, slots=True)
class Ranks:
    """An array whose elements are `values[rank + zero]`.

    `steps_first`: the file has it as (steps, lanes), not as (lanes, steps). `literals`: `values` holds one value, that of rank 0;
    the elements of rank 1 lie in a piece of this many coded bytes. None: there is a codebook.
    """

    grid: Grid
    width: int
    zero: int
    values: Values
    steps_first: bool
    literals: int | None = None

    @property
    def coded(self) -> int:
        """Coded bytes of its piece."""
        return self.literals or 0

    @property
    def bytes(self) -> int:
        elements = self.grid.steps * self.grid.lanes
        return elements // 2 if self.width == NIBBLE else elements * DTYPES[self.width].itemsize


@dataclass(frozen=True, slots=True)
class Planes:
    """A piece of `bytes` bytes, elements of `width` bytes as byte planes (planes.py), in `coded` bytes of zstd."""

    bytes: int
    width: int
    coded: int


Part = Ranks | Planes


def write(parts: list[tuple[int, Part]]) -> bytes:
    """`parts`: (bytes of text before it, part) for each."""
    out = varint(len(parts))
    for gap, part in parts:
        out += varint(gap) + (_written_ranks(part) if isinstance(part, Ranks) else _written_planes(part))
    return out


def read(reader: Reader, total: int) -> list[tuple[int, Part]]:
    """The parts of a file of `total` bytes. Raises Undecodable where they are more than that, or more work than it allows."""
    parts: list[tuple[int, Part]] = []
    left, rounds = total, FREE_ROUNDS + total // BYTES_A_ROUND
    for _ in range(reader.varint(MAX_PARTS, "parts")):
        gap = reader.varint(left, "text before a part")
        head = reader.byte()
        part = _read_planes(reader, head, left) if head & 0x80 else _read_ranks(reader, head)
        left -= gap + part.bytes
        rounds -= part.grid.rounds if isinstance(part, Ranks) else 0
        if left < 0 or rounds < 0:
            raise Undecodable(f"coded bytes: the parts are more than the {total} bytes declared allow")
        parts.append((gap, part))
    return parts


def _written_planes(part: Planes) -> bytes:
    return bytes([0x80 | part.width]) + varint(part.bytes) + varint(part.coded)


def _read_planes(reader: Reader, head: int, left: int) -> Planes:
    width = head & 0x7F
    size = reader.varint(min(left, MAX_PIECE_BYTES), "piece")
    if width not in (1, 2, 4, 8) or size % width:
        raise Undecodable(f"coded bytes: a piece of {size} bytes in planes of width {width}")
    return Planes(size, width, reader.varint(size + 1024, "coded piece"))


def _written_ranks(part: Ranks) -> bytes:
    """head, values - 1, zero, codebook, steps, lanes, [pitch, plane,] groups | pace << 4, density + 128"""
    grid = part.grid
    if part.literals is None:
        form, book = codebook.write(part.values, part.width)
        book = bytes([len(part.values) - 1, part.zero]) + book
    else:
        form, book = codebook.LITERALS, part.values[:1].tobytes() + varint(part.literals)
    pixels = bool(grid.pitch or grid.plane)
    head = part.width | form << 2 | _STEPS_FIRST * part.steps_first | _PIXELS * pixels
    out = bytes([head]) + book + varint(grid.steps) + varint(grid.lanes)
    if pixels:
        out += varint(grid.pitch) + varint(grid.plane)
    return out + bytes([grid.groups | grid.pace << 4, grid.density + 128])


def _read_ranks(reader: Reader, head: int) -> Ranks:
    width, form = head & 3, head >> 2 & 7
    literals = None
    if form == codebook.LITERALS and width != NIBBLE:
        count, zero = 2, 0
        values = codebook.read(reader, codebook.RAW, 1, width)
        literals = reader.varint(MAX_ELEMENTS * 8, "coded literals")
    else:
        count, zero = reader.byte() + 1, reader.byte()
        if zero >= count:
            raise Undecodable(f"coded bytes: rank 0 is value {zero} of {count}")
        values = codebook.read(reader, form, count, width)
    steps = reader.varint(MAX_ELEMENTS, "steps")
    lanes = reader.varint(MAX_LANES, "lanes")
    if steps < 1 or lanes < 1 or steps * lanes > MAX_ELEMENTS or (width == NIBBLE and steps * lanes % 2):
        raise Undecodable(f"coded bytes: an array of {steps} x {lanes}")
    pitch = plane = 0
    if head & _PIXELS:
        pitch = reader.varint(steps // 2, "pitch")
        plane = reader.varint(steps, "plane")
    learning, density = reader.byte(), reader.byte() - 128
    groups, pace = learning & 15, learning >> 4
    if not 1 <= groups <= min(15, lanes) or not -96 <= density <= 96:
        raise Undecodable(f"coded bytes: {groups} groups of {lanes} lanes, density {density}")
    grid = Grid(steps, lanes, pitch, plane, groups, zero, count - 1 - zero, density, pace)
    return Ranks(grid, width, zero, values, bool(head & _STEPS_FIRST), literals)
