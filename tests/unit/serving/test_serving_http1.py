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

from edge_node.serving.connection import Connection, Limits
from edge_node.serving.http1 import Chunks, head_of, parse_head, unpacked
from edge_node.serving.tls import tls_of
from littoral.errors import BadInput, FleetError, TooLarge
from tests.kit.models import images
from tests.kit.patience import PATIENCE_S
from tests.kit.serving import MODEL, Node, open_node, request_of, served


def test_a_head_is_read() -> None:
    head = parse_head(b"POST /v2/models/a/infer?x=1 HTTP/1.1\r\nHost: h\r\nContent-Length:  12 \r\nX-Odd: \xe9")
    assert (head.method, head.path, head.length, head.keep_alive) == ("POST", "/v2/models/a/infer", 12, True)
    assert head.headers["x-odd"] == "\xe9"
    assert not parse_head(b"GET / HTTP/1.1\r\nConnection: Close").keep_alive
    assert not parse_head(b"GET / HTTP/1.0").keep_alive
    assert parse_head(b"GET / HTTP/1.0\r\nConnection: keep-alive").keep_alive
    assert parse_head(b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue").length is None


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"GET /",
        b"GET / HTTP/2.0",
        b"GET  / HTTP/1.1",
        b"GET http://elsewhere/ HTTP/1.1",
        b"GET /\x00 HTTP/1.1",
        b"GET / HTTP/1.1\r\nno colon",
        b"GET / HTTP/1.1\r\nName : spaced",
        b"GET / HTTP/1.1\r\n folded: line",
        b"GET / HTTP/1.1\r\nA: line\nfeed",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2",
        b"GET / HTTP/1.1\r\nContent-Length: -1",
        b"GET / HTTP/1.1\r\nContent-Length: 1, 1",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked",
        b"GET / HTTP/1.1\r\nContent-Length: 9999999999999999999",
    ],
)
def test_what_is_not_plainly_one_request_is_refused(raw: bytes) -> None:
    with pytest.raises(BadInput):
        parse_head(raw)


@given(st.binary(max_size=200))
def test_whatever_comes_is_a_head_or_refused(raw: bytes) -> None:
    with contextlib.suppress(BadInput):  # and nothing else
        assert parse_head(b"GET / HTTP/1.1\r\n" + raw).path == "/"


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.data())
def test_chunks_are_joined_however_they_are_cut_on_their_way(parts: list[bytes], data: st.DataObject) -> None:
    sent = b"".join(b"%x;ext=1\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\nTrailer: x\r\n\r\nnext"
    at = data.draw(st.integers(0, len(sent)))
    chunks, buffer = Chunks(1_000), bytearray(sent[:at])
    body = chunks.read(buffer)
    if body is None:
        buffer += sent[at:]
        body = chunks.read(buffer)
    assert body == b"".join(parts)
    assert sent[at:].endswith(bytes(buffer)) or buffer == b"next"[: len(buffer)]


@given(st.binary(max_size=100))
def test_whatever_comes_in_chunks_is_read_or_refused(raw: bytes) -> None:
    with contextlib.suppress(BadInput, TooLarge):  # and nothing else
        assert len(Chunks(50).read(bytearray(raw)) or b"") <= 50


def test_a_packed_body_is_bounded_by_what_it_unpacks_to() -> None:
    assert unpacked(gzip.compress(b"abc"), "gzip", 10) == b"abc"
    assert unpacked(zlib.compress(b"abc"), "deflate", 3) == b"abc"
    assert unpacked(b"abc", None, 10) == b"abc"
    with pytest.raises(TooLarge):
        unpacked(gzip.compress(bytes(50_000_000)), "gzip", 1_000)
    for body, coding in ((b"abc", "gzip"), (gzip.compress(b"abc")[:-9], "gzip"), (b"abc", "br")):
        with pytest.raises(FleetError):
            unpacked(body, coding, 1_000)


def test_an_answer_says_its_length() -> None:
    assert head_of(200, 5, (("a", "b"),), keep_alive=True) == b"HTTP/1.1 200 OK\r\na: b\r\ncontent-length: 5\r\n\r\n"
    assert b"connection: close\r\n" in head_of(408, 0, (), keep_alive=False)


# -- over real connections -----------------------------------------------------------------------------------------


def infer_request(*headers: str, body: bytes | None = None) -> bytes:
    body = json.dumps(request_of(images(1))).encode() if body is None else body
    lines = [f"POST /v2/models/{MODEL}/infer HTTP/1.1", "Host: x", *headers, f"Content-Length: {len(body)}"]
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
        def admit(self, connection: object) -> bool:
            return True

        def gone(self, connection: object) -> None: ...

    limits = Limits(write_s=30.0)
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
