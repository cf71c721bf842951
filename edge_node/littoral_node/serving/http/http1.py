"""HTTP/1.1 as bytes (RFC 9112): the head of a request, a body in chunks, the head of an answer. Pure; no sockets.

1. A head has at most MAX_HEAD_BYTES. Its first line is METHOD SP TARGET SP HTTP/1.x, and each next line a header: no folded
   lines, no space before a colon, no control characters, no bare CR or LF.
2. content-length, transfer-encoding, host and authorization occur once at most. HTTP/1.1 needs a host.
3. A body has a content-length of digits alone, or comes in chunks by `transfer-encoding: chunked`; both together are refused, and
   so is any other transfer coding.
4. The reason for all of them: two servers in a row must agree on where a request ends. What could be read in two ways is refused.
   A test compares the reading with h11's.

    >>> parse_head(b"POST /v2/models/a%2Fb/infer?x HTTP/1.1\\r\\nHost: node\\r\\nContent-Length: 7").parts
    ('v2', 'models', 'a/b', 'infer')
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import unquote_to_bytes

from littoral_node.serving.http.errors import BadExpectation, BadRequest, BodyTooLarge, UnknownCoding, UnknownTransfer

MAX_HEAD_BYTES = 16 * 1024
_LINE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([\x21-\x7e]+) HTTP/1\.([0-9])")
_ABSOLUTE = re.compile(r"https?://([^/?#]*)(/[^?]*)?(\?.*)?", re.IGNORECASE)
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._~!$&'()*+,;=%-]*)(:[0-9]*)?")
_FIELD = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e\x80-\xff\t]*?)[ \t]*")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})(?:;[\t\x20-\x7e\x80-\xff]*)?[ \t]*")
_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ONCE = ("content-length", "transfer-encoding", "host", "authorization")
_MAX_CHUNK_LINE = 256
FEW_CHUNKS, LEAST_CHUNK = 1024, 64
"""After FEW_CHUNKS chunks they must have LEAST_CHUNK bytes on average: a chunk costs more than its bytes."""
_CHUNKS_AT_ONCE = 256
_MEMBERS = 256
"""Of one packed body."""
_PIECE = 16 * 1024
_PHRASES = {int(status): status.phrase for status in HTTPStatus}


@dataclass(frozen=True, slots=True)
class Head:
    method: str
    path: str  # without what follows a question mark, as it was sent
    parts: tuple[str, ...]  # of the path, between its slashes; each decoded by itself
    headers: Mapping[str, str]  # names in lower case; lines of one name are joined with commas
    keep_alive: bool
    length: int | None  # bytes of the body; None: it comes in chunks
    authority: str = ""  # of the target where it has one, else the header host; "": HTTP/1.0 without a host
    old: bool = False  # HTTP/1.0: its answer names keep-alive

    @property
    def expects(self) -> bool:
        """The client waits for "100 Continue" before it sends its body."""
        return "expect" in self.headers and not self.old


def parse_head(raw: bytes) -> Head:
    """What stands before the empty line. Raises BadRequest; BadExpectation; UnknownTransfer."""
    lines = raw.decode("latin-1").split("\r\n")
    if (first := _LINE.fullmatch(lines[0])) is None:
        raise BadRequest(f"request: {lines[0][:80]!r} is no request line of HTTP/1.1")
    method, target, old = first[1], first[2], first[3] == "0"
    headers = _headers(lines[1:])
    authority = headers.get("host", "")
    if "host" not in headers and not old:
        raise BadRequest("host: is missing, and HTTP/1.1 wants it")
    if (absolute := _ABSOLUTE.fullmatch(target)) is not None:
        authority, path = absolute[1], absolute[2] or "/"
        if not authority:
            raise BadRequest(f"request: {target[:80]!r} names no host")
    elif target.startswith("/") or (target == "*" and method == "OPTIONS"):
        path = target.partition("?")[0]
    else:
        raise BadRequest(f"request: {target[:80]!r} is no path that can be asked for")
    if _AUTHORITY.fullmatch(authority) is None or _AUTHORITY.fullmatch(headers.get("host", "")) is None:
        raise BadRequest(f"host: {authority[:80]!r} is no name or address of a host")
    options = _listed(headers.get("connection", ""))
    keep_alive = "close" not in options and (not old or "keep-alive" in options)
    if not old and headers.get("expect", "100-continue").lower() != "100-continue":
        raise BadExpectation(f"expect: {headers['expect'][:80]!r} is not known here", hint="100-continue, or none")
    return Head(method, path, _parts(path), headers, keep_alive, _length(headers, old), authority, old)


def _headers(lines: Sequence[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        if (field := _FIELD.fullmatch(line)) is None:
            raise BadRequest(f"request: {line[:80]!r} is no header line")
        name = field[1].lower()
        if name in headers and name in _ONCE:
            raise BadRequest(f"request: the header {name} stands there twice")
        headers[name] = f"{headers[name]}, {field[2]}" if name in headers else field[2]
    return headers


def _listed(value: str) -> list[str]:
    """The words between commas, in lower case."""
    return [word for part in value.split(",") if (word := part.strip(" \t").lower())]


def _parts(path: str) -> tuple[str, ...]:
    """Decoded behind the split: a slash that was escaped separates nothing."""
    parts = path.strip("/").split("/")
    if "%" not in path:
        return tuple(parts)
    if _ESCAPE.search(path) is not None:
        raise BadRequest(f"request: {path[:80]!r} holds a percent sign without two hexadecimal digits")
    try:
        return tuple(unquote_to_bytes(part).decode() for part in parts)
    except UnicodeDecodeError as error:
        raise BadRequest(f"request: {path[:80]!r} is not UTF-8 once it is decoded") from error


def _length(headers: Mapping[str, str], old: bool) -> int | None:
    length, coding = headers.get("content-length"), headers.get("transfer-encoding")
    if coding is not None:
        codings = [part.strip(" \t").lower() for part in coding.split(",")]
        if old or length is not None or codings[-1] != "chunked" or "chunked" in codings[:-1] or "" in codings:
            where = ", nor in HTTP/1.0" if old else ""
            raise BadRequest(
                f"transfer-encoding: {coding[:80]!r} is not taken{where}", hint="chunked, without a content-length, or none"
            )
        if len(codings) > 1:
            raise UnknownTransfer(f"transfer-encoding: {coding[:80]!r} is not known here", hint="chunked alone, or none")
        return None
    if length is None:
        return 0
    if not (length.isascii() and length.isdigit() and len(length) <= 15):
        raise BadRequest(f"content-length: {length[:80]!r} is not a number of bytes")
    return int(length)


class Chunks:
    """Reads a body that comes in chunks. It refuses a body that is too large however TCP has cut it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._body = bytearray()
        self._count = 0
        self._trailer = -1  # bytes of the trailer, behind the last chunk; -1: the last chunk has not arrived

    @property
    def size(self) -> int:
        """Bytes of the body that are here."""
        return len(self._body)

    def read(self, data: bytes | bytearray, at: int) -> tuple[int, bytearray | None]:
        """Takes chunks from `data`, from `at` on, no more than a few hundred at once.

        Returns: where it stopped, and the complete body, or None while more is to come.
        Raises BadRequest, BodyTooLarge.
        """
        for _ in range(_CHUNKS_AT_ONCE):
            if self._trailer >= 0:
                return self._end(data, at)
            end = data.find(b"\r\n", at, at + _MAX_CHUNK_LINE + 2)
            if end < 0:
                if len(data) - at > _MAX_CHUNK_LINE + 1:
                    raise BadRequest("body: is not in chunks as it says")
                return at, None
            if (line := _CHUNK.fullmatch(data, at, end)) is None:
                raise BadRequest("body: is not in chunks as it says")
            size = int(line[1], 16)
            if len(self._body) + size > self._most:
                raise BodyTooLarge(f"body: over {self._most} bytes", hint="send a smaller batch")
            if size == 0:
                self._trailer = 0
                at = end + 2
                continue
            stop = end + 2 + size
            if len(data) < stop + 2:
                if data[stop : stop + 1] not in (b"", b"\r"):
                    raise BadRequest("body: a chunk is longer than it says")
                return at, None
            if data[stop : stop + 2] != b"\r\n":
                raise BadRequest("body: a chunk is longer than it says")
            self._count += 1
            with memoryview(data) as view:
                self._body += view[end + 2 : stop]
            if self._count > FEW_CHUNKS and len(self._body) < LEAST_CHUNK * self._count:
                raise BadRequest(
                    f"body: its first {self._count} chunks hold {len(self._body)} bytes",
                    hint=f"beyond {FEW_CHUNKS} chunks, {LEAST_CHUNK} bytes each on average, at least",
                )
            at = stop + 2
        return at, None

    def _end(self, data: bytes | bytearray, at: int) -> tuple[int, bytearray | None]:
        """Behind the last chunk there are header lines or none. They are checked and dropped."""
        while (end := data.find(b"\r\n", at, at + MAX_HEAD_BYTES + 2)) >= 0:
            if end == at:
                return at + 2, self._body
            self._trailer += end + 2 - at
            if self._trailer > MAX_HEAD_BYTES or _FIELD.fullmatch(data[at:end].decode("latin-1")) is None:
                raise BadRequest(f"body: what follows its chunks are no header lines, or over {MAX_HEAD_BYTES} bytes")
            at = end + 2
        if self._trailer + len(data) - at > MAX_HEAD_BYTES:
            raise BadRequest(f"body: what follows its chunks are over {MAX_HEAD_BYTES} bytes")
        return at, None


def unpacked(body: bytes | bytearray, coding: str | None, most: int) -> bytes | bytearray:
    """The body as it was before its content-encoding.

    Raises BadRequest; UnknownCoding; BodyTooLarge before more than `most` bytes are there.
    """
    codings = [name for name in _listed(coding or "") if name != "identity"]
    for name in codings:
        if name not in ("gzip", "x-gzip", "deflate"):
            raise UnknownCoding(f"content-encoding: {name[:80]!r} is not known here", hint="gzip, deflate, or none")
    if len(codings) > 2:
        raise BadRequest(f"content-encoding: {len(codings)} codings, at most 2 are taken", hint="pack it once")
    for name in reversed(codings):
        body = _unpacked_once(body, name.removeprefix("x-"), most)
    return body


def _unpacked_once(body: bytes | bytearray, coding: str, most: int) -> bytearray:
    """Of gzip every member (RFC 1952, 2.2)."""
    complete, at, members = bytearray(), 0, 0
    reader = zlib.decompressobj(31 if coding == "gzip" else 15)
    with memoryview(body) as view:
        while at < len(view):
            if reader.eof:
                members += 1
                if coding != "gzip" or members >= _MEMBERS:
                    raise BadRequest(f"body: {len(view) - at} bytes follow its {coding}")
                reader = zlib.decompressobj(31)
            piece = view[at : at + _PIECE]
            at += len(piece)
            while piece and not reader.eof:
                try:
                    complete += reader.decompress(piece, most + 1 - len(complete))
                except zlib.error as error:
                    raise BadRequest(f"body: is not {coding}: {error}") from error
                if len(complete) > most:
                    raise BodyTooLarge(f"body: over {most} bytes when it is unpacked", hint="send a smaller batch")
                piece = memoryview(reader.unconsumed_tail)
            at -= len(reader.unused_data)
    if not reader.eof:
        raise BadRequest(f"body: {coding} ends too early")
    return complete


def head_of(status: int, length: int, headers: Sequence[tuple[str, str]], *, keep_alive: bool, old: bool = False) -> bytes:
    """Of an answer whose body has `length` bytes.

    Args:
        old: the request was HTTP/1.0: its answer names keep-alive.
    """
    head = f"HTTP/1.1 {status} {_PHRASES.get(status, '')}\r\n"
    for name, value in headers:
        head += f"{name}: {value}\r\n"
    end = "connection: close\r\n" if not keep_alive else "connection: keep-alive\r\n" if old else ""
    return f"{head}content-length: {length}\r\n{end}\r\n".encode("latin-1")
