"""From coded bytes back to the file, bit for bit.

Written for hostile input: every declared length is checked before memory is taken, the bytes that the caller allows bound memory
and work, and every fault is an Undecodable.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from littoral.codec import dictionary, plan, planes
from littoral.codec.codebook import NIBBLE
from littoral.codec.coder import Coder, decoder_of
from littoral.codec.container import (
    CHUNK,
    HAS_DICTIONARY,
    HAS_LENGTH,
    HAS_PLAN,
    MAGIC,
    MAX_DICTIONARIES,
    MAX_MIXED_BYTES,
    MAX_PLAN_BYTES,
    METHODS,
    MIXED,
    STORED,
    WINDOW_LOG,
    ZSTD,
    Reader,
)
from littoral.codec.errors import OverLimit, Undecodable
from littoral.codec.ranks import code_ranks
from littoral.codec.text import decoded


def decode(data: bytes, *, limit: int) -> bytes:
    """The bytes from which `encode` made `data`.

    Raises:
        OverLimit: they would be more than `limit` bytes. Undecodable: `data` is damaged, or of a later version.
        DictionaryChanged: see littoral.codec.dictionary.numbered.
    """
    out = io.BytesIO()
    _decode(Reader(io.BytesIO(data), 0, len(data)), out.write, limit)
    return out.getvalue()


def decode_file(source: Path, place: Path, *, limit: int) -> None:
    """Decodes a file into another, a piece at a time. After an error the caller deletes what is at `place`.

    Raises what `decode` raises, and OSError.
    """
    with source.open("rb") as coded, place.open("wb") as file:
        _decode(Reader(coded, 0, source.stat().st_size), file.write, limit)


def _decode(reader: Reader, write: Callable[[bytes], object], limit: int) -> None:
    if (first := reader.byte()) != MAGIC:
        raise Undecodable(f"coded bytes: begin with {first:#04x}, not with {MAGIC:#04x}", hint="a newer version may read them")
    total = reader.varint(1 << 62, "size")
    if total > limit:
        raise OverLimit(f"coded bytes: decode to {total} bytes, at most {limit} are taken")
    how = reader.byte()
    if how & ~(METHODS | HAS_PLAN | HAS_LENGTH | HAS_DICTIONARY):
        raise Undecodable(f"coded bytes: need flags {how:#04x}, which this version does not know", hint="upgrade the agent")
    shared = dictionary.numbered(reader.varint(MAX_DICTIONARIES, "dictionary")) if how & HAS_DICTIONARY else b""
    if shared and how & METHODS != MIXED:
        raise Undecodable(f"coded bytes: a dictionary for method {how & METHODS}, which has no use for one")
    plan_bytes = reader.varint(MAX_PLAN_BYTES, "plan") if how & HAS_PLAN else 0
    rest = reader
    if how & HAS_LENGTH:
        size = reader.varint(1 << 62, "length of the text")
        reader = rest.part(size)
    coder = decoder_of(reader.read()) if how & METHODS == MIXED else None
    text = _TextStream(_pieces_of(how & METHODS, reader) if coder is None else decoded(coder, shared))
    parts = _plan_of(text.take(plan_bytes), total) if how & HAS_PLAN else []
    text_bytes = total - sum(part.bytes for _, part in parts)
    if coder is not None:  # the arrays follow the text in the same code
        if plan_bytes + text_bytes > MAX_MIXED_BYTES:
            raise Undecodable(f"coded bytes: {text_bytes} bytes of text, at most {MAX_MIXED_BYTES} are mixed")
        text = _TextStream(iter([text.take(text_bytes)]))
    pieces = rest.part(sum(part.coded for _, part in parts))
    for gap, part in parts:
        text.copy(gap, write)
        if isinstance(part, plan.Planes):
            write(_piece(pieces, part.coded, part.bytes, part.width))
            continue
        coder = coder or decoder_of(rest.read())
        write(_array(coder, part, pieces))
    text.copy(text_bytes - sum(gap for gap, _ in parts), write)
    text.end()


def _plan_of(body: bytes, total: int) -> list[tuple[int, plan.Part]]:
    reader = Reader(io.BytesIO(body), 0, len(body))
    parts = plan.read(reader, total)
    if reader.position != reader.end:
        raise Undecodable("coded bytes: the plan is longer than its parts")
    return parts


def _pieces_of(method: int, reader: Reader) -> Iterator[bytes]:
    if method == STORED:
        return iter(lambda: reader.read(CHUNK), b"")
    if method == ZSTD:
        return _expanded(reader)
    raise Undecodable(f"coded bytes: method {method} is not known", hint="upgrade the agent")


class _TextStream:
    """The plan, then all that is no array: a stream that must hold exactly the bytes that are declared."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._ahead = b""

    def take(self, count: int) -> bytes:
        out = io.BytesIO()
        self.copy(count, out.write)
        return out.getvalue()

    def copy(self, count: int, write: Callable[[bytes], object]) -> None:
        while count:
            piece = self._ahead or next(self._pieces, b"")
            if not piece:
                raise Undecodable(f"coded bytes: {count} bytes of text are missing")
            write(piece[:count])
            self._ahead = piece[count:]
            count -= min(count, len(piece))

    def end(self) -> None:
        if self._ahead or next(self._pieces, b""):
            raise Undecodable("coded bytes: more text than was declared")


def _expanded(reader: Reader) -> Iterator[bytes]:
    """The content of a zstd frame, a piece at a time."""
    import zstandard

    expander = zstandard.ZstdDecompressor(max_window_size=1 << WINDOW_LOG, format=zstandard.FORMAT_ZSTD1_MAGICLESS)
    try:
        with expander.stream_reader(cast(BinaryIO, reader), read_size=CHUNK) as stream:
            while piece := stream.read(CHUNK):
                yield piece
    except zstandard.ZstdError as error:
        raise Undecodable(f"coded bytes: {error}") from error


def _piece(pieces: Reader, coded: int, size: int, width: int) -> bytes:
    text = _TextStream(_expanded(pieces.part(coded)))
    data = text.take(size)
    text.end()
    return planes.joined(data, width)


def _array(coder: Coder, part: plan.Ranks, pieces: Reader) -> bytes:
    ranks = code_ranks(coder, part.grid, None)
    if part.literals is not None:
        there = (ranks if part.steps_first else ranks.T).ravel() != 0
        width = part.values.itemsize
        elements = np.full(len(there), part.values[0])
        data = _piece(pieces, part.literals, int(there.sum()) * width, width)
        elements[there] = np.frombuffer(data, part.values.dtype)
        return elements.tobytes()
    ranks += part.zero  # in place: the table is ours
    elements = part.values[ranks if part.steps_first else ranks.T].ravel()
    if part.width == NIBBLE:
        return ((elements[0::2] & 0xF) | (elements[1::2] & 0xF) << np.uint8(4)).astype(np.uint8).tobytes()
    return elements.tobytes()
