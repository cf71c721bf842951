"""HTTP/1.1 as bytes: what is one request, and what is refused; over real connections where a client misbehaves."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import ssl
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral_node.serving.http.connection import Connection
from littoral_node.serving.http.errors import BadExpectation, BadRequest, BodyTooLarge
from littoral_node.serving.http.handler import HttpLimits
from littoral_node.serving.http.http1 import Chunks, head_of, parse_head, unpacked
from littoral_node.serving.tls import tls_of
from tests.kit.models import images
from tests.kit.patience import PATIENCE_S
from tests.kit.serving import MODEL, Node, open_node, request_of, served


def test_a_head_is_read() -> None:
    head = parse_head(b"POST /v2/models/a/infer?x=1 HTTP/1.1\r\nHost: h\r\nContent-Length:  12 \r\nX-Odd: \xe9")
    assert (head.method, head.path, head.length, head.keep_alive) == ("POST", "/v2/models/a/infer", 12, True)
    assert head.headers["x-odd"] == "\xe9"
    assert parse_head(b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\nExpect: 100-continue").length is None
    assert parse_head(b"GET / HTTP/1.1\r\nHost: h\r\nA: 1\r\na: 2").headers["a"] == "1, 2"
    assert parse_head(b"GET / HTTP/1.9\r\nHost: h").keep_alive  # a minor version to come is as the newest that is known


@pytest.mark.parametrize(
    ("raw", "stays"),
    [
        (b"GET / HTTP/1.1\r\nHost: h", True),
        (b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Close", False),
        (b"GET / HTTP/1.1\r\nHost: h\r\nConnection: not-close", True),
        (b"GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\nConnection: close", False),
        (b"GET / HTTP/1.0", False),
        (b"GET / HTTP/1.0\r\nConnection: Keep-Alive, x", True),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive, close", False),
    ],
)
def test_whether_a_connection_stays(raw: bytes, stays: bool) -> None:
    assert parse_head(raw).keep_alive is stays


@pytest.mark.parametrize(
    ("target", "authority", "parts"),
    [
        ("/v2/models/m", "h:80", ("v2", "models", "m")),
        ("/v2/models/%6D/versions/sha256%3Aab", "h:80", ("v2", "models", "m", "versions", "sha256:ab")),
        ("/v2/models/a%2Fb", "h:80", ("v2", "models", "a/b")),
        ("/v2/models/%C3%A4?x=%zz", "h:80", ("v2", "models", "\u00e4")),
        ("http://127.0.0.1:8080/v2", "127.0.0.1:8080", ("v2",)),
        ("HTTP://localhost?x=/y", "localhost", ("",)),
        ("http://[::1]:8080/v2/health/live?", "[::1]:8080", ("v2", "health", "live")),
    ],
)
def test_who_and_what_is_asked_for(target: str, authority: str, parts: tuple[str, ...]) -> None:
    head = parse_head(f"GET {target} HTTP/1.1\r\nHost: h:80".encode())
    assert (head.authority, head.parts) == (authority, parts)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"GET /",
        b"GET / HTTP/2.0",
        b"GET  / HTTP/1.1",
        b"GET / HTTP/1.1",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: a",
        b"GET / HTTP/1.1\r\nHost: a b",
        b"GET / HTTP/1.1\r\nHost: a, b",
        b"GET / HTTP/1.1\r\nHost: a/b",
        b"GET / HTTP/1.1\r\nHost: a:b",
        b"GET http://user@h/ HTTP/1.1\r\nHost: h",
        b"GET http:///v2 HTTP/1.1\r\nHost: h",
        b"GET ftp://h/ HTTP/1.1\r\nHost: h",
        b"GET * HTTP/1.1\r\nHost: h",
        b"CONNECT h:80 HTTP/1.1\r\nHost: h",
        b"GET /%zz HTTP/1.1\r\nHost: h",
        b"GET /%ff HTTP/1.1\r\nHost: h",
        b"GET /\x00 HTTP/1.1\r\nHost: h",
        b"GET / HTTP/1.1\r\nno colon",
        b"GET / HTTP/1.1\r\nName : spaced",
        b"GET / HTTP/1.1\r\n folded: line",
        b"GET / HTTP/1.1\r\nA: line\nfeed",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2",
        b"GET / HTTP/1.1\r\nContent-Length: -1",
        b"GET / HTTP/1.1\r\nContent-Length: 1, 1",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked, gzip",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked, chunked",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        b"GET / HTTP/1.1\r\nTransfer-Encoding:",
        b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive",
        b"GET / HTTP/1.1\r\nContent-Length: 9999999999999999999",
    ],
)
def test_what_is_not_plainly_one_request_is_refused(raw: bytes) -> None:
    if b"Host" not in raw and raw != b"GET / HTTP/1.1":
        raw = raw.replace(b" HTTP/1.1\r\n", b" HTTP/1.1\r\nHost: h\r\n")  # so that it is refused for what is wrong with it
    with pytest.raises(BadRequest):
        parse_head(raw)


@given(st.binary(max_size=200))
def test_whatever_comes_is_a_head_or_refused(raw: bytes) -> None:
    with contextlib.suppress(BadRequest, BadExpectation):  # and nothing else
        assert parse_head(b"GET / HTTP/1.1\r\nHost: h\r\n" + raw).path == "/"


def all_chunks(chunks: Chunks, *pieces: bytes) -> tuple[bytearray | None, bytes]:
    """The body, and what of the pieces is left, which come one after another."""
    buffer, body = b"", None
    for piece in pieces:
        buffer += piece
        while body is None:
            at, body = chunks.read(buffer, 0)
            buffer = buffer[at:]
            if not at:
                break
    return body, buffer


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.data())
def test_chunks_are_joined_however_they_are_cut_on_their_way(parts: list[bytes], data: st.DataObject) -> None:
    sent = b"".join(b"%x;ext=1\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\nTrailer: x\r\n\r\nnext"
    at = data.draw(st.integers(0, len(sent)))
    body, left = all_chunks(Chunks(1_000), sent[:at], sent[at:])
    assert body == b"".join(parts)
    assert left == b"next"


@given(st.binary(max_size=100))
def test_whatever_comes_in_chunks_is_read_or_refused(raw: bytes) -> None:
    with contextlib.suppress(BadRequest, BodyTooLarge):  # and nothing else
        assert len(Chunks(50).read(raw, 0)[1] or b"") <= 50


@pytest.mark.parametrize(
    "sent",
    [
        b"2;" + b"x" * 300 + b"\r\nab\r\n0\r\n\r\n",
        b"2\r\nabc\r\n0\r\n\r\n",
        b"2;a=\x00\r\nab\r\n0\r\n\r\n",
        b"0\r\nno header line\r\n\r\n",
        b"0\r\n" + b"A: b\r\n" * 3_000 + b"\r\n",
        b"0\r\nA: " + b"b" * 20_000 + b"\r\n\r\n",
        b"1\r\na\r\n" * 1_100 + b"0\r\n\r\n",
    ],
    ids=["long line", "longer than it says", "control", "no trailer", "long trailer", "long field", "small chunks"],
)
def test_chunks_are_refused_however_they_are_cut(sent: bytes) -> None:
    for pieces in (
        (sent,),
        (sent[: len(sent) // 2], sent[len(sent) // 2 :]),
        [sent[i : i + 97] for i in range(0, len(sent), 97)],
    ):
        with pytest.raises(BadRequest):
            all_chunks(Chunks(1_000_000), *pieces)


def test_a_packed_body_is_bounded_by_what_it_unpacks_to() -> None:
    for coding in ("gzip", "GZIP", "x-gzip", "X-Gzip"):
        assert unpacked(gzip.compress(b"abc"), coding, 10) == b"abc"
    assert unpacked(gzip.compress(b"abc") + gzip.compress(b"def"), "gzip", 6) == b"abcdef"
    assert unpacked(zlib.compress(gzip.compress(b"abc")), "gzip, deflate", 100) == b"abc"
    assert unpacked(zlib.compress(b"abc"), "Deflate", 3) == b"abc"
    for coding in (None, "", "identity"):
        assert unpacked(b"abc", coding, 10) == b"abc"
    for most, packed in ((1_000, gzip.compress(bytes(50_000_000))), (6, gzip.compress(b"abcd") * 2)):
        with pytest.raises(BodyTooLarge):
            unpacked(packed, "gzip", most)
    for body, coding in (
        (b"abc", "gzip"),
        (b"", "gzip"),
        (gzip.compress(b"abc")[:-9], "gzip"),
        (gzip.compress(b"abc") + b"junk", "gzip"),
        (gzip.compress(b"abc") + gzip.compress(b"abc")[:-1], "gzip"),
        (gzip.compress(b"") * 1_000, "gzip"),
        (zlib.compress(b"abc") + zlib.compress(b"abc"), "deflate"),
        (b"abc", "br"),
        (b"abc", "gzip, gzip, gzip"),
    ):
        with pytest.raises(BadRequest):
            unpacked(body, coding, 1_000)


@given(st.lists(st.binary(max_size=60_000), min_size=1, max_size=3))
def test_what_was_packed_is_unpacked_whatever_its_size(parts: list[bytes]) -> None:
    packed = b"".join(map(gzip.compress, parts))
    assert unpacked(packed, "gzip", 200_000) == b"".join(parts)


def test_an_answer_says_its_length() -> None:
    assert head_of(200, 5, (("a", "b"),), keep_alive=True) == b"HTTP/1.1 200 OK\r\na: b\r\ncontent-length: 5\r\n\r\n"
    assert b"connection: close\r\n" in head_of(408, 0, (), keep_alive=False)


# -- over real connections -----------------------------------------------------------------------------------------


def infer_request(*headers: str, body: bytes | None = None) -> bytes:
    body = json.dumps(request_of(images(1))).encode() if body is None else body
    lines = [f"POST /v2/models/{MODEL}/infer HTTP/1.1", "Host: localhost", *headers, f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def spoken(node: Node, *sent: bytes, until: int = 1) -> list[int]:
    """What comes back for bytes, in as many pieces: the status of each of `until` answers, or of all until the end (0)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", node.server.port)
    try:
        async with asyncio.timeout(PATIENCE_S):
            for piece in sent:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            found: list[int] = []
            while (not until or len(found) < until) and (line := await reader.readline()):
                found.append(int(line.split()[1]))
                head = await reader.readuntil(b"\r\n\r\n") if found[-1] != 100 else b"content-length: 0" + await reader.readline()
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
                await reader.readexactly(length)
            return found
    finally:
        writer.close()


async def test_requests_that_come_in_pieces_or_together(tmp_path: Path) -> None:
    async with open_node(served(tmp_path)) as node:
        whole = infer_request()
        assert await spoken(node, *(whole[at : at + 7] for at in range(0, len(whole), 7))) == [200]
        assert await spoken(node, whole + whole + whole, until=3) == [200, 200, 200]
        assert await spoken(node, infer_request("Expect: 100-continue").partition(b"\r\n\r\n")[0] + b"\r\n\r\n") == [100]
        assert await spoken(node, infer_request("Connection: close") + whole, until=0) == [200]
        packed = gzip.compress(json.dumps(request_of(images(1))).encode())
        assert await spoken(node, infer_request("Content-Encoding: gzip", body=packed)) == [200]


async def test_a_request_that_cannot_be_read_is_answered_and_ends_the_connection(tmp_path: Path) -> None:
    async with open_node(served(tmp_path)) as node:
        assert await spoken(node, b"nonsense\r\n\r\n" + infer_request(), until=0) == [400]
        assert await spoken(node, b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000, until=0) == [400]
        assert (await node.infer(request_of(images(1)))).status_code == 200


async def test_head_is_get_without_the_body(tmp_path: Path) -> None:
    async with open_node(served(tmp_path)) as node:
        answer = await node.client.head("/v2/health/ready")
        assert (answer.status_code, answer.content) == (200, b"")
        assert (await node.client.get("/v2/health/ready")).headers["content-length"] == answer.headers["content-length"]


async def test_a_client_that_does_not_read_its_answer_is_given_up() -> None:
    """With a clock and a transport of the test's own: the kernel would hold megabytes before a real one is stuck."""
    now = 0.0

    class Stuck:
        ended = False

        def abort(self) -> None:
            self.ended = True

        def is_closing(self) -> bool:
            return self.ended

    class Anybody:
        errors = ()

        def admit(self, connection: object) -> bool:
            return True

        def gone(self, connection: object) -> None: ...

    limits = HttpLimits(write_s=30.0)
    connection, transport = Connection(Anybody(), limits, lambda: now), Stuck()  # type: ignore[arg-type]
    connection.connection_made(transport)  # type: ignore[arg-type]
    now = 5.0
    connection.pause_writing()
    connection.overdue(34.9)
    assert not transport.ended
    connection.overdue(35.1)
    assert transport.ended


async def test_more_connections_than_it_holds_are_closed_and_those_that_say_nothing_too(tmp_path: Path) -> None:
    async with open_node(served(tmp_path), max_connections=3, body_s=0.4) as node:
        assert (await node.infer(request_of(images(1)))).status_code == 200  # holds the first
        silent = [await asyncio.open_connection("127.0.0.1", node.server.port) for _ in range(2)]
        assert await spoken(node, infer_request(), until=0) == []  # the fourth
        async with asyncio.timeout(PATIENCE_S):
            for reader, _ in silent:
                with_reset = await asyncio.gather(reader.read(), return_exceptions=True)
                assert with_reset[0] == b"" or isinstance(with_reset[0], ConnectionError)
        for _, writer in silent:
            writer.close()
        assert await spoken(node, infer_request()) == [200]


async def test_a_client_that_sends_byte_by_byte_does_not_hold_its_place(tmp_path: Path) -> None:
    """Slow loris: each byte comes in time, the request never."""
    async with open_node(served(tmp_path), body_s=0.4, max_in_flight=1) as node:
        head, _, body = infer_request().partition(b"\r\n\r\n")
        reader, writer = await asyncio.open_connection("127.0.0.1", node.server.port)
        writer.write(head + b"\r\n\r\n")

        async def drip() -> None:
            for byte in body:
                writer.write(bytes([byte]))
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        async with asyncio.timeout(PATIENCE_S):
            assert (await reader.readline()).startswith(b"HTTP/1.1 408")
            dripping.cancel()
            assert (await node.infer(request_of(images(1)))).status_code == 200
        writer.close()


async def test_behind_tls_those_who_never_speak_it_are_bounded_too(tmp_path: Path) -> None:
    tls = tls_of(tmp_path, ("127.0.0.1",), now=2e9)
    async with open_node(served(tmp_path / "model"), max_connections=3, body_s=1.0, tls=tls) as node:
        port = node.server.port
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        async with asyncio.timeout(PATIENCE_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            ended = await asyncio.gather(reader.read(), return_exceptions=True)
            assert ended[0] == b"" or isinstance(ended[0], ConnectionError)  # the fourth, at once
            writer.close()
            silent[0][1].write(b"GET / HTTP/1.1\r\n\r\n")  # no TLS
            for reader, writer in silent:
                await asyncio.gather(reader.read(), return_exceptions=True)
                writer.close()
            unchecked = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
            for _ in range(3):
                reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=unchecked)
                writer.write(infer_request() + infer_request("Connection: close"))
                said = await reader.read()
                assert said.count(b"HTTP/1.1 200") == 2
                writer.close()
