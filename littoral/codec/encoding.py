"""From a file to the fewest bytes that give it back: arrays of few values as ranks, other numbers as byte planes, the rest and
the plan of it all as one text. Whatever does not pay is left in the text."""

from __future__ import annotations

from littoral.codec import plan, planes
from littoral.codec.choice import ranks_of
from littoral.codec.codebook import DTYPES, NIBBLE
from littoral.codec.coder import Encoder
from littoral.codec.container import (
    BYTES_A_ROUND,
    FREE_ROUNDS,
    HAS_LENGTH,
    HAS_PLAN,
    MAGIC,
    MAX_PARTS,
    MAX_PIECE_BYTES,
    STORED,
    WINDOW_LOG,
    ZSTD,
    varint,
)
from littoral.codec.find import Found, arrays_in
from littoral.codec.ranks import code_ranks

_PLANES_FROM = 1 << 11
"""Bytes below which a zstd frame of its own does not pay."""


def encode(data: bytes, *, quick: bool = False) -> bytes:
    """Coded bytes: `decode` gives `data` back. The same bytes give the same code, with one version of zstd.

    Args:
        quick: for what travels once, such as an update: arrays of few values are not looked for, zstd does not try hard.
    """
    parts: list[tuple[int, plan.Part]] = []
    text, pieces, coder = bytearray(), bytearray(), Encoder()
    done, rounds = 0, FREE_ROUNDS + len(data) // BYTES_A_ROUND
    for found in _usable(arrays_in(data), len(data)):
        raw = data[found.offset : found.offset + found.size]
        made: list[tuple[plan.Part, bytes]] = []
        if not quick and (chosen := ranks_of(raw, found, rounds)) is not None:
            part, ranks = chosen
            code_ranks(coder, part.grid, ranks)
            rounds -= part.grid.rounds
            made = [(part, b"")]
        elif found.size >= _PLANES_FROM:
            made = _planes_of(raw, 1 if found.width == NIBBLE else DTYPES[found.width].itemsize, quick)
        gap = data[done : found.offset]
        for part_made, coded in made:
            text += gap
            parts.append((len(gap), part_made))
            pieces += coded
            gap = b""
        done = found.offset + found.size if made else done
    text += data[done:]
    return _framed(len(data), bytes(text), parts, bytes(pieces), coder.finish(), quick)


def _framed(total: int, text: bytes, parts: list[tuple[int, plan.Part]], pieces: bytes, ranks: bytes, quick: bool) -> bytes:
    head = bytes([MAGIC]) + varint(total)
    if not parts:
        method, coded = _text(text, quick)
        return head + bytes([method]) + coded
    planned = plan.write(parts)
    method, coded = _text(planned + text, quick)
    return head + bytes([method | HAS_PLAN | HAS_LENGTH]) + varint(len(planned)) + varint(len(coded)) + coded + pieces + ranks


def _usable(found: list[Found], total: int) -> list[Found]:
    return sorted(sorted(found, key=lambda array: -array.size)[: MAX_PARTS // 4], key=lambda array: array.offset)


def _text(text: bytes, quick: bool) -> tuple[int, bytes]:
    packed = _zstd(text, quick)
    return (ZSTD, packed) if len(packed) < len(text) else (STORED, text)


def _planes_of(raw: bytes, width: int, quick: bool) -> list[tuple[plan.Part, bytes]]:
    """Pieces; none where they are no smaller than the bytes in the text."""
    made: list[tuple[plan.Part, bytes]] = []
    for start in range(0, len(raw), MAX_PIECE_BYTES):
        piece = raw[start : start + MAX_PIECE_BYTES]
        coded = _zstd(planes.split(piece, width), quick)
        made.append((plan.Planes(len(piece), width, len(coded)), coded))
    size = sum(len(coded) for _, coded in made)
    return made if size < len(raw) and size < len(_zstd(raw, quick)) else []


def _zstd(data: bytes, quick: bool) -> bytes:
    import zstandard

    parameters = zstandard.ZstdCompressionParameters.from_level(
        3 if quick else 19,
        source_size=len(data),
        window_log=min(WINDOW_LOG, max(10, len(data).bit_length())),
        format=zstandard.FORMAT_ZSTD1_MAGICLESS,
        write_content_size=False,
        write_checksum=False,
        write_dict_id=False,
    )
    return zstandard.ZstdCompressor(compression_params=parameters).compress(data)
