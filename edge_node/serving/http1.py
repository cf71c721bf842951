"""HTTP/1.1 as bytes (RFC 9112): the head of a request, a body in chunks, the head of an answer. Pure; no sockets.

Strict where two readers could disagree about where a request ends: what is not plainly one request is refused.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from littoral.errors import BadInput, TooLarge

MAX_HEAD_BYTES = 16 * 1024
_LINE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+) (/[\x21-\x7e]*) HTTP/1\.([01])")
_FIELD = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e\x80-\xff\t]*?)[ \t]*")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?")
_MAX_CHUNK_LINE = 256
_WORDS = {int(status): status.phrase for status in HTTPStatus}


@dataclass(frozen=True, slots=True)
class Head:
    method: str
    path: str  # without what follows a question mark
    parts: tuple[str, ...]  # of the path, between its slashes
    headers: Mapping[str, str]  # names in lower case
    keep_alive: bool
    length: int | None  # bytes of the body; None: it comes in chunks

    @property
    def expects(self) -> bool:
        """The client waits to be told that its body is wanted."""
        return self.headers.get("expect", "").lower() == "100-continue"


def parse_head(raw: bytes) -> Head:
    """What stands before the empty line. Raises BadInput."""
    lines = raw.decode("latin-1").split("\r\n")
    if (first := _LINE.fullmatch(lines[0])) is None:
        raise BadInput(f"request: {lines[0][:80]!r} is no request line of HTTP/1.1")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        if (field := _FIELD.fullmatch(line)) is None:
            raise BadInput(f"request: {line[:80]!r} is no header line")
        name = field[1].lower()
        if name in headers and name in ("content-length", "transfer-encoding", "host", "authorization"):
            raise BadInput(f"request: the header {name} stands there twice")
        headers[name] = field[2]
    connection = headers.get("connection", "").lower()
    keep_alive = "close" not in connection if first[3] == "1" else "keep-alive" in connection
    path = first[2].partition("?")[0]
    return Head(first[1], path, tuple(path.strip("/").split("/")), headers, keep_alive, _length(headers))


def _length(headers: Mapping[str, str]) -> int | None:
    length, coding = headers.get("content-length"), headers.get("transfer-encoding")
    if coding is not None:
        if length is not None or coding.lower() != "chunked":
            raise BadInput(f"transfer-encoding: {coding[:80]!r} is not taken", hint="chunked, without a content-length, or none")
        return None
    if length is None:
        return 0
    if not (length.isascii() and length.isdigit() and len(length) <= 15):
        raise BadInput(f"content-length: {length[:80]!r} is not a number of bytes")
    return int(length)


class Chunks:
    """Reads a body that comes in chunks."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._parts: list[bytes] = []
        self._size = 0
        self._trailer = False

    def read(self, data: bytearray) -> bytes | None:
        """Takes what it can from the front of `data`; the whole body once it is there. Raises BadInput, TooLarge."""
        while (end := data.find(b"\r\n")) >= 0:
            if self._trailer:  # what follows the last chunk is of no interest
                del data[: end + 2]
                if end == 0:
                    return b"".join(self._parts)
                continue
            if (line := _CHUNK.fullmatch(bytes(data[:end]))) is None:
                raise BadInput("body: is not in chunks as it says")
            size = int(line[1], 16)
            if self._size + size > self._most:
                raise TooLarge(f"body: over {self._most} bytes", hint="send a smaller batch")
            if size == 0:
                self._trailer = True
                del data[: end + 2]
                continue
            if len(data) < end + 2 + size + 2:
                return None
            if data[end + 2 + size : end + 4 + size] != b"\r\n":
                raise BadInput("body: a chunk is longer than it says")
            self._parts.append(bytes(data[end + 2 : end + 2 + size]))
            self._size += size
            del data[: end + 4 + size]
        if len(data) > _MAX_CHUNK_LINE:
            raise BadInput("body: is not in chunks as it says")
        return None


def unpacked(body: bytes, coding: str | None, most: int) -> bytes:
    """The body as it was before its content-encoding. Raises BadInput, and TooLarge before more than `most` bytes are there."""
    if coding is None or coding == "identity":
        return body
    if coding not in ("gzip", "deflate"):
        raise BadInput(f"content-encoding: {coding[:80]!r} is not taken", hint="gzip, deflate, or none")
    reader = zlib.decompressobj(31 if coding == "gzip" else 15)
    try:
        whole = reader.decompress(body, most + 1)
    except zlib.error as error:
        raise BadInput(f"body: is not {coding}: {error}") from error
    if len(whole) > most:
        raise TooLarge(f"body: over {most} bytes when it is unpacked", hint="send a smaller batch")
    if not reader.eof:
        raise BadInput(f"body: {coding} ends too early")
    return whole


def head_of(status: int, length: int, headers: Sequence[tuple[str, str]], *, keep_alive: bool) -> bytes:
    """Of an answer whose body has `length` bytes."""
    head = f"HTTP/1.1 {status} {_WORDS.get(status, '')}\r\n"
    for name, value in headers:
        head += f"{name}: {value}\r\n"
    end = "" if keep_alive else "connection: close\r\n"
    return f"{head}content-length: {length}\r\n{end}\r\n".encode("latin-1")
