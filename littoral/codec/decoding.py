"""From coded bytes back to the file, bit for bit. Written for hostile input: whatever is declared is checked before it is
believed, memory and work are bounded by the bytes that the caller allows, and every fault is a BadCoding."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

from littoral.codec.container import MAGIC, STORED, WINDOW_LOG, ZSTD, BadCoding, Reader
from littoral.errors import TooLarge

CHUNK = 1 << 18


def decode(data: bytes, *, limit: int) -> bytes:
    """The bytes that were encoded.

    Raises:
        TooLarge: they would be more than `limit`. BadCoding: the coded bytes are damaged, or not of this version.
    """
    out = bytearray()
    _decode(Reader(io.BytesIO(data), 0, len(data)), out.extend, limit)
    return bytes(out)


def decode_file(source: Path, place: Path, *, limit: int) -> None:
    """Decodes a file into another, a piece at a time. What is left at `place` after an error is the caller's to delete.

    Raises what `decode` raises, and OSError.
    """
    with source.open("rb") as coded, place.open("wb") as file:
        _decode(Reader(coded, 0, source.stat().st_size), file.write, limit)


def _decode(reader: Reader, write: Callable[[bytes], object], limit: int) -> None:
    if (first := reader.byte()) != MAGIC:
        raise BadCoding(f"coded bytes: begin with {first:#04x}, not with {MAGIC:#04x}", hint="a newer version may read them")
    total = reader.varint(1 << 62, "size")
    if total > limit:
        raise TooLarge(f"coded bytes: decode to {total} bytes, at most {limit} are taken")
    method = reader.byte()
    if method == STORED:
        text: Iterator[bytes] = iter(lambda: reader.read(CHUNK), b"")
    elif method == ZSTD:
        text = _zstd(reader)
    else:
        raise BadCoding(f"coded bytes: method {method} is not known", hint="upgrade the agent")
    written = 0
    for piece in text:
        written += len(piece)
        if written > total:
            raise BadCoding(f"coded bytes: more than the {total} bytes declared")
        write(piece)
    if written != total:
        raise BadCoding(f"coded bytes: {written} bytes of the {total} declared")


def _zstd(reader: Reader) -> Iterator[bytes]:
    import zstandard

    expander = zstandard.ZstdDecompressor(max_window_size=1 << WINDOW_LOG, format=zstandard.FORMAT_ZSTD1_MAGICLESS)
    try:
        with expander.stream_reader(cast(BinaryIO, reader), read_size=CHUNK) as stream:
            while piece := stream.read(CHUNK):
                yield piece
    except zstandard.ZstdError as error:
        raise BadCoding(f"coded bytes: {error}") from error
