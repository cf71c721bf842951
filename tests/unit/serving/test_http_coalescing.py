"""Answers of one turn of the event loop: none is lost, none waits for long, and each connection reads its own in order."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from littoral_node.serving.http.coalescing import MOST, Coalescer
from littoral_node.serving.http.connection import Connection
from littoral_node.serving.http.handler import HttpLimits
from tests.kit.models import images
from tests.kit.patience import PATIENCE_S
from tests.kit.serving import MODEL, Node, open_node, request_of, served


def request(name: str, *headers: str) -> bytes:
    body = json.dumps(request_of(images(1), id=name)).encode()
    lines = (f"POST /v2/models/{MODEL}/infer HTTP/1.1", "Host: localhost", *headers, f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def answers(reader: asyncio.StreamReader, count: int) -> list[str]:
    """The ids of so many."""
    found = []
    async with asyncio.timeout(PATIENCE_S):
        for _ in range(count):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
            found.append(json.loads(await reader.readexactly(length))["id"])
    return found


async def opened(node: Node) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", node.server.port)


async def test_the_first_of_a_turn_goes_at_once_and_the_others_together() -> None:
    coalescer, sent = Coalescer(), list[int]()

    def answered(number: int) -> None:
        if not coalescer.coalesce(lambda: sent.append(number)):
            sent.append(number)

    for number in range(MOST):
        answered(number)
    assert sent == [0]
    answered(MOST)  # as many wait as may
    assert sent == list(range(MOST + 1))
    answered(MOST + 1)
    assert len(sent) == MOST + 1
    await asyncio.sleep(0)
    assert sent == list(range(MOST + 2))  # the turn is over
    await asyncio.sleep(0)
    answered(-1)
    assert sent[-1] == -1


async def test_who_asks_at_the_same_time_reads_an_answer_of_its_own(tmp_path: Path) -> None:
    async with open_node(served(tmp_path)) as node:
        clients = [await opened(node) for _ in range(3 * MOST + 1)]
        for round_ in range(3):
            names = [f"{round_}-{number}" for number in range(len(clients))]
            for (_, writer), name in zip(clients, names, strict=True):
                writer.write(request(name))
            assert [(await answers(reader, 1))[0] for reader, _ in clients] == names
        for _, writer in clients:
            writer.close()


@pytest.mark.parametrize("last", [(), ("Connection: close",)])
async def test_answers_on_one_connection_keep_their_order(tmp_path: Path, last: tuple[str, ...]) -> None:
    async with open_node(served(tmp_path)) as node:
        clients = [await opened(node) for _ in range(4)]
        names = [str(number) for number in range(5)]
        for _, writer in clients:
            writer.write(b"".join(request(name) for name in names[:-1]) + request(names[-1], *last))
        for reader, writer in clients:
            assert await answers(reader, len(names)) == names
            if last:
                assert await reader.read() == b""
            writer.close()


async def test_what_waits_is_sent_before_the_connection_ends(tmp_path: Path) -> None:
    async with open_node(served(tmp_path)) as node:
        clients = [await opened(node) for _ in range(5)]
        for number, (_, writer) in enumerate(clients):
            writer.write(request(str(number)))
            writer.write_eof()  # it has said all
        for number, (reader, writer) in enumerate(clients):
            assert await answers(reader, 1) == [str(number)]
            assert await reader.read() == b""
            writer.close()
        clients = [await opened(node) for _ in range(5)]
        for number, (_, writer) in enumerate(clients):
            writer.write(request(str(number)) + b"nonsense\r\n\r\n")
        for number, (reader, writer) in enumerate(clients):
            assert await answers(reader, 1) == [str(number)]
            assert (await reader.read()).startswith(b"HTTP/1.1 400")
            writer.close()


async def test_an_end_of_the_server_sends_what_waits(tmp_path: Path) -> None:
    """With connections and transports of the test's own, for all of it is in one turn."""

    class Transport:
        def __init__(self) -> None:
            self.written, self.closed = b"", False

        def write(self, data: bytes) -> None:
            assert not self.closed
            self.written += data

        def is_closing(self) -> bool:
            return self.closed

        def close(self) -> None:
            self.closed = True

    async with open_node(served(tmp_path)) as node:
        pairs: list[tuple[Any, Transport]] = [
            (Connection(node.server, HttpLimits(), lambda: 1e12), Transport()) for _ in range(3)
        ]
        for connection, transport in pairs:
            connection.connection_made(transport)
            connection.data_received(request("mine"))
        assert [bool(transport.written) for _, transport in pairs] == [True, False, False]
        for connection, transport in pairs:
            connection.close()
            assert transport.written.startswith(b"HTTP/1.1 200")
            assert transport.closed
            connection.connection_lost(None)
