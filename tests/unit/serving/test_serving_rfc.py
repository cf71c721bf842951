"""What RFC 9110 and 9112 want of a server, over real connections: each case is what is sent and what has to come back."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path

import h11
import pytest

from tests.kit.models import images
from tests.kit.patience import PATIENCE_S
from tests.kit.serving import MODEL, Node, open_node, request_of, served

BODY = json.dumps(request_of(images(1))).encode()
INFER = f"/v2/models/{MODEL}/infer"


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with open_node(served(tmp_path)) as opened:
        yield opened


async def exchange(node: Node, *sent: bytes) -> list[tuple[int, dict[str, str], bytes]]:
    """(status, headers, body) of all that comes back until the server ends the connection, read as h11 reads it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", node.server.port)
    try:
        async with asyncio.timeout(PATIENCE_S):
            for piece in sent:
                writer.write(piece)
                await writer.drain()
            writer.write_eof()
            said = await reader.read()
    finally:
        writer.close()
    found = []
    while said:
        client = h11.Connection(h11.CLIENT)
        client.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
        client.send(h11.EndOfMessage())
        client.receive_data(said)
        response = client.next_event()
        assert isinstance(response, h11.Response), response
        body = b""
        while isinstance(event := client.next_event(), h11.Data):
            body += event.data
        assert isinstance(event, h11.EndOfMessage), event
        headers = {name.decode(): value.decode() for name, value in response.headers}
        found.append((response.status_code, headers, body))
        said = bytes(client.trailing_data[0]) if client.trailing_data[0] else b""
    return found


async def statuses(node: Node, *sent: bytes) -> list[int]:
    return [status for status, _, _ in await exchange(node, *sent)]


def asked(method: str, target: str, *headers: str, body: bytes = b"", version: str = "1.1") -> bytes:
    lines = [f"{method} {target} HTTP/{version}", "Host: localhost", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@pytest.mark.parametrize(
    ("sent", "wanted"),
    [
        pytest.param(asked("GET", "/v2", "X: " + "x" * 17_000), [400], id="a head of 17 KB in one write"),
        pytest.param(asked("GET", "/v2", *["A: b"] * 5_000), [400], id="5,000 headers"),
        pytest.param(asked("GET", "/v2", "X: " + "x" * 16_000), [200], id="a head of 16,000 bytes"),
        pytest.param(asked("GET", "http://127.0.0.1:22100/v2"), [200], id="absolute-form"),
        pytest.param(b"GET http://evil.example/v2 HTTP/1.1\r\nHost: localhost\r\n\r\n", [421], id="absolute-form of another"),
        pytest.param(b"GET /v2 HTTP/1.1\r\n\r\n", [400], id="no Host"),
        pytest.param(b"GET /v2 HTTP/1.0\r\n\r\n", [200], id="no Host in HTTP/1.0"),
        pytest.param(b"GET /v2 HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", [400], id="two Hosts"),
        pytest.param(asked("GET", "/v2/models/%74iny"), [200], id="an escaped letter"),
        pytest.param(asked("GET", "/v2/models/tiny/versions/seed%2D0"), [200], id="an escaped version"),
        pytest.param(asked("GET", "/v2%2Fmodels/tiny"), [404], id="an escaped slash"),
        pytest.param(asked("POST", INFER, "Expect: 200-maybe", body=BODY), [417], id="another expectation"),
        pytest.param(asked("POST", INFER, "Expect: 200-maybe", body=BODY, version="1.0"), [200], id="none in HTTP/1.0"),
        pytest.param(asked("POST", INFER, "Content-Encoding: GZIP", body=gzip.compress(BODY)), [200], id="GZIP"),
        pytest.param(asked("POST", INFER, "Content-Encoding: x-gzip", body=gzip.compress(BODY)), [200], id="x-gzip"),
        pytest.param(
            asked("POST", INFER, "Content-Encoding: gzip", body=gzip.compress(BODY[:99]) + gzip.compress(BODY[99:])),
            [200],
            id="two members",
        ),
        pytest.param(asked("POST", INFER, "Content-Encoding: gzip", body=gzip.compress(BODY) + b"junk"), [400], id="junk"),
        pytest.param(
            asked("POST", INFER, "Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n", [501], id="another transfer coding"
        ),
        pytest.param(
            asked("POST", INFER, "Transfer-Encoding: chunked", "Connection: keep-alive", version="1.0")
            + b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
            + asked("GET", "/v2"),
            [400],
            id="chunks in HTTP/1.0",
        ),
        pytest.param(b"\r\n" + asked("GET", "/v2") + b"\r\n" + asked("GET", "/v2"), [200, 200], id="an empty line before"),
        pytest.param(asked("GET", "/v2", "Connection: x, close") + asked("GET", "/v2"), [200], id="close among others"),
    ],
)
async def test_what_is_sent_and_what_comes_back(node: Node, sent: bytes, wanted: list[int]) -> None:
    assert await statuses(node, sent) == wanted
    assert await statuses(node, *(sent[at : at + 900] for at in range(0, len(sent), 900))) == wanted  # however TCP cuts it


@pytest.mark.parametrize(
    ("method", "target", "allowed"),
    [
        ("GET", INFER, "POST, OPTIONS"),
        ("DELETE", f"/v2/models/{MODEL}", "GET, HEAD, OPTIONS"),
        ("PUT", "/metrics", "GET, HEAD, OPTIONS"),
        ("POST", "/v2/health/live", "GET, HEAD, OPTIONS"),
        ("GET", "/v2/repository/index", "POST, OPTIONS"),
        ("HEAD", f"/v2/repository/models/{MODEL}/unload", "POST, OPTIONS"),
    ],
)
async def test_a_method_that_a_path_does_not_know_is_told_which_it_does(
    node: Node, method: str, target: str, allowed: str
) -> None:
    answer = await node.client.request(method, target)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    options = await node.client.request("OPTIONS", target)
    assert (options.status_code, options.headers["allow"], options.content) == (200, allowed, b"")


async def test_options_of_the_server_and_of_what_is_not_there(node: Node) -> None:
    [(status, headers, body)] = await exchange(node, asked("OPTIONS", "*"))
    assert (status, headers["allow"], body) == (200, "GET, HEAD, POST, OPTIONS", b"")
    assert await statuses(node, asked("OPTIONS", "/elsewhere")) == [404]


async def test_each_answer_has_its_date_and_one_of_http_1_0_says_that_it_stays(node: Node) -> None:
    old = asked("GET", "/v2", "Connection: keep-alive", version="1.0")
    for _, headers, _ in (found := await exchange(node, old + old + asked("GET", "/v2/nothing") + asked("GET", "/v2"))):
        assert headers["date"].endswith(" GMT")
    assert [headers.get("connection") for _, headers, _ in found] == ["keep-alive", "keep-alive", None, None]


async def test_a_coding_that_is_not_known_is_told_which_are(node: Node) -> None:
    [(status, headers, _)] = await exchange(node, asked("POST", INFER, "Content-Encoding: br", body=BODY))
    assert (status, headers["accept-encoding"]) == (415, "gzip, deflate")


@pytest.mark.parametrize("sent", [b"GET /v2 HTTP/1.1\r\nHost: lo", b"POST"])
async def test_a_head_that_has_begun_and_does_not_come_is_told_so(tmp_path: Path, sent: bytes) -> None:
    async with open_node(served(tmp_path), body_s=0.1) as node:
        reader, writer = await asyncio.open_connection("127.0.0.1", node.server.port)
        async with asyncio.timeout(PATIENCE_S):
            for before in (b"", asked("GET", "/v2")):  # the second on a connection that stayed, too
                if before:
                    reader, writer = await asyncio.open_connection("127.0.0.1", node.server.port)
                    writer.write(before)
                    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
                    await reader.readuntil(b"]}")
                writer.write(sent)
                assert (await reader.readline()).startswith(b"HTTP/1.1 408")
                writer.close()


async def test_many_requests_at_once_are_answered_in_their_order(node: Node) -> None:
    paths = [f"/v2/models/m{i}" for i in range(300)]
    found = await exchange(node, b"".join(asked("GET", path) for path in paths))
    assert [json.loads(body)["error"] for _, _, body in found] == [f"model: 'm{i}' is not served here" for i in range(300)]
