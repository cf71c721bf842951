"""From a file to the fewest bytes that give it back.

1. Find the arrays in the file (find.py).
2. Code an array of few values as ranks (choice.py), other numbers as byte planes; leave it in the text where that saves nothing.
3. Write the plan of these parts before the text, and code both: stored, by zstd, or mixed (text.py), the smallest.
4. Decode the result. Where it differs from the file, code all of the file as text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from littoral.codec import dictionary, plan, planes
from littoral.codec.choice import ranks_of
from littoral.codec.codebook import DTYPES, NIBBLE
from littoral.codec.coder import Encoder, TooManyBits
from littoral.codec.container import (
    BYTES_A_ROUND,
    FREE_ROUNDS,
    HAS_DICTIONARY,
    HAS_LENGTH,
    HAS_PLAN,
    MAGIC,
    MAX_MIXED_BYTES,
    MAX_PARTS,
    MAX_PIECE_BYTES,
    MAX_PLAN_BYTES,
    MIXED,
    STORED,
    ZSTD,
    varint,
)
from littoral.codec.decoding import decode
from littoral.codec.find import ArrayPlace, arrays_beside, arrays_in
from littoral.codec.packing import zstd, zstd_after
from littoral.codec.ranks import Grid, code_ranks
from littoral.codec.tables import Ints
from littoral.codec.text import code_text

_PLANES_FROM = 1 << 11
"""Bytes from which a zstd frame of its own saves something."""
_SMALL = 1 << 10


def encode_files(files: Mapping[str, bytes], *, dictionaries: bool = False) -> dict[str, bytes]:
    """The files of an artifact, each coded, by name. ncnn's .param tells where the arrays of its .bin are.

    Args:
        dictionaries: see `encode`.
    """
    coded = {}
    for name, data in files.items():
        param = files.get(f"{name.removesuffix('.bin')}.param") if name.endswith(".bin") else None
        found = arrays_in(data) if param is None else arrays_beside(param, data)
        coded[name] = _encode(data, found, quick=False, dictionaries=dictionaries)
    return coded


def encode(data: bytes, *, quick: bool = False, dictionaries: bool = False) -> bytes:
    """Coded bytes, from which `decode` makes `data` again. The same data give the same bytes, with one version of zstd.

    Args:
        quick: for what travels once, such as an update: no mixing, no ranks, a low level of zstd.
        dictionaries: the coded bytes may need a dictionary (dictionary.py); `coding_of` names it.
    """
    return _encode(data, arrays_in(data), quick, dictionaries)


def text_of(data: bytes) -> bytes:
    """The text of a file: its plan and all that is no array. Dictionaries are made of it."""
    planned, text, _, _ = _split(data, arrays_in(data), quick=False)
    return planned + text


def _encode(data: bytes, arrays_found: list[ArrayPlace], quick: bool, dictionaries: bool) -> bytes:
    planned, text, pieces, arrays = _split(data, arrays_found, quick)
    head = bytes([MAGIC]) + varint(len(data))
    coded = head + _body(planned, planned + text, pieces, arrays, quick, dictionaries)
    # Never send a node what does not decode to the same bytes.
    if planned and (len(planned) > MAX_PLAN_BYTES or (not quick and decode(coded, limit=len(data)) != data)):
        return _encode(data, [], quick, dictionaries)
    return coded


def _split(data: bytes, arrays_found: list[ArrayPlace], quick: bool) -> tuple[bytes, bytes, bytes, list[tuple[Grid, Ints]]]:
    """(plan, text, pieces, arrays of ranks)"""
    parts: list[tuple[int, plan.Part]] = []
    arrays: list[tuple[Grid, Ints]] = []
    text, pieces = bytearray(), bytearray()
    done, rounds = 0, FREE_ROUNDS + len(data) // BYTES_A_ROUND
    for found in _usable(arrays_found):
        raw = data[found.offset : found.offset + found.size]
        made = _planes_of(raw, found.width, quick) if found.size >= _PLANES_FROM else []
        if not quick:
            otherwise = sum(len(coded) for _, coded in made) or len(zstd(raw, quick=quick))
            if (chosen := ranks_of(raw, found, rounds, otherwise)) is not None:
                arrays.append((chosen.part.grid, chosen.ranks))
                rounds -= chosen.part.grid.rounds
                made = [(chosen.part, chosen.literals)]
        gap = data[done : found.offset]
        for part_made, coded in made:
            text += gap
            parts.append((len(gap), part_made))
            pieces += coded
            gap = b""
        done = found.offset + found.size if made else done
    text += data[done:]
    return plan.write(parts) if parts else b"", bytes(text), bytes(pieces), arrays


def _body(planned: bytes, text: bytes, pieces: bytes, arrays: list[tuple[Grid, Ints]], quick: bool, dictionaries: bool) -> bytes:
    """[dictionary] [bytes of the plan] [bytes of the first block] text, pieces, arrays; or text and arrays as one code,
    then pieces."""
    method, first = _text(text, quick)
    coder, number = Encoder(), 0
    if not quick and len(text) <= MAX_MIXED_BYTES:
        mixed = _mixed(text, len(first), dictionary.NUMBERS if dictionaries else ())
        if mixed is not None:
            method, (number, coder) = MIXED, mixed
    for grid, ranks in arrays:
        code_ranks(coder, grid, ranks)
    coded = coder.finish()
    if method == MIXED:
        first, coded = coded, b""
    has_length = bool(pieces or coded)
    how = method | HAS_PLAN * bool(planned) | HAS_LENGTH * has_length | HAS_DICTIONARY * bool(number)
    numbers = (varint(number) if number else b"") + (varint(len(planned)) if planned else b"")
    return bytes([how]) + numbers + (varint(len(first)) if has_length else b"") + first + pieces + coded


def _mixed(text: bytes, otherwise: int, numbers: Sequence[int]) -> tuple[int, Encoder] | None:
    """The number of the dictionary with which mixing takes the fewest bytes, 0 for none, and the coder after the text; None where
    mixing takes more than `otherwise` bytes."""
    if len(text) > _SMALL and otherwise > 0.95 * len(text):  # noise
        return None
    best, least = None, 8.0 * otherwise
    learnt = {0: b"", **{number: dictionary.numbered(number) for number in numbers}}
    # The likeliest first: a good one ends the attempts with the others early.
    for number in sorted(learnt, key=lambda number: (zstd_after(text, learnt[number]), number)):
        coder, named = Encoder(), 8 * bool(number)
        try:
            code_text(coder, text, learnt[number], most=least - named)
        except TooManyBits:
            continue
        best, least = (number, coder), coder.bits + named
    return best


def _usable(found: list[ArrayPlace]) -> list[ArrayPlace]:
    """The largest arrays, as many as fit into a plan."""
    return sorted(sorted(found, key=lambda array: -array.size)[: MAX_PARTS // 4], key=lambda array: array.offset)


def _text(text: bytes, quick: bool) -> tuple[int, bytes]:
    packed = zstd(text, quick=quick)
    return (ZSTD, packed) if len(packed) < len(text) else (STORED, text)


def _planes_of(raw: bytes, width: int, quick: bool) -> list[tuple[plan.Part, bytes]]:
    """Pieces with their coded bytes; none where zstd alone makes fewer."""
    made: list[tuple[plan.Part, bytes]] = []
    width = 1 if width == NIBBLE else DTYPES[width].itemsize
    for start in range(0, len(raw), MAX_PIECE_BYTES):
        piece = raw[start : start + MAX_PIECE_BYTES]
        coded = zstd(planes.split(piece, width), quick=quick)
        made.append((plan.Planes(len(piece), width, len(coded)), coded))
    size = sum(len(coded) for _, coded in made)
    return made if size < len(raw) and size <= len(zstd(raw, quick=quick)) else []
