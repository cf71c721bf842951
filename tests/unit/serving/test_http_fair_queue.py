"""One client cannot starve the others: whose turn it is, and what a probe sees beside those who send without end."""

from __future__ import annotations

import asyncio
import gc
import weakref
from pathlib import Path

import pytest

from littoral.errors import BadInput
from littoral_node.serving.body_memory import MAX_BYTES, BodyMemory
from littoral_node.serving.http.connection import Connection
from littoral_node.serving.http.fair_queue import TURN_S, FairQueue
from littoral_node.serving.http.handler import HttpLimits
from littoral_node.serving.http.inline import rest_of
from tests.kit.models import images
from tests.kit.patience import PATIENCE_S
from tests.kit.serving import MODEL, Node, open_node, request_of, served


async def test_units_of_work_take_turns_and_the_loop_looks_up_in_between() -> None:
    now = 0.0
    turns = FairQueue(lambda: now)
    seen: list[str] = []

    def unit(name: str, left: int) -> None:
        nonlocal now
        now += TURN_S * 0.6
        seen.append(name)
        if left:
            turns.later(lambda: unit(name, left - 1))

    turns.later(lambda: unit("a", 3))
    turns.later(lambda: unit("b", 1))
    for many in (0, 2, 4, 6):  # two units in each turn of the loop
        assert len(seen) == many
        await asyncio.sleep(0)
    assert "".join(seen) == "ababaa"
    now = 0.0
    turns.later(lambda: unit("c", 0))
    await asyncio.sleep(0)
    assert seen[-1] == "c"


async def test_a_unit_that_fails_keeps_no_other_from_its_turn() -> None:
    turns, seen = FairQueue(), asyncio.Event()
    said: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context["exception"]))
    wrong = OSError("gone")

    def fail() -> None:
        raise wrong

    turns.later(fail)
    turns.later(seen.set)
    async with asyncio.timeout(PATIENCE_S):
        await seen.wait()
    assert said == [wrong]


async def test_a_client_that_is_gone_when_it_is_refused_is_let_go(tmp_path: Path) -> None:
    """Its socket knows before the loop does: shutdown(2) says ENOTCONN."""

    class Gone:
        ended = False
        max_size = 0

        def is_closing(self) -> bool:
            return self.ended

        def write(self, data: bytes) -> None: ...

        def resume_reading(self) -> None: ...

        def can_write_eof(self) -> bool:
            return True

        def write_eof(self) -> None:
            raise OSError(107, "Transport endpoint is not connected")

        def abort(self) -> None:
            self.ended = True

    async with open_node(served(tmp_path)) as node:
        connection, transport = Connection(node.server, HttpLimits(), lambda: 0.0), Gone()
        connection.connection_made(transport)  # type: ignore[arg-type]
        connection.data_received(b"nonsense\r\n\r\n")
        assert transport.ended
        connection.connection_lost(None)


async def probe(node: Node) -> None:
    """Asks on a connection of its own whether the node lives."""
    reader, writer = await asyncio.open_connection("127.0.0.1", node.server.port)
    writer.write(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
    async with asyncio.timeout(PATIENCE_S):
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    writer.close()


async def test_a_probe_is_answered_long_before_the_last_of_many_requests_on_one_connection(tmp_path: Path) -> None:
    many = 100_000
    async with open_node(served(tmp_path)) as node:
        reader, writer = await asyncio.open_connection("127.0.0.1", node.server.port)
        writer.write(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n" * (many - 1))
        writer.write(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answers = bytearray()

        async def read() -> None:
            while said := await reader.read(1 << 20):
                answers.extend(said)

        reading = asyncio.create_task(read())
        while not answers:  # noqa: ASYNC110 - until the server is at it
            await asyncio.sleep(0)
        await probe(node)
        assert answers.count(b"HTTP/1.1 200 OK") < many / 2
        async with asyncio.timeout(PATIENCE_S):
            await reading
        writer.close()
        assert answers.count(b"HTTP/1.1 200 OK") == many


async def test_a_body_in_chunks_of_two_bytes_is_refused_and_a_probe_does_not_wait_for_that(tmp_path: Path) -> None:
    async with open_node(served(tmp_path)) as node:
        reader, writer = await asyncio.open_connection("127.0.0.1", node.server.port)
        writer.write(f"POST /v2/models/{MODEL}/infer HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        writer.write(b"2\r\n[]\r\n" * 1_000)
        await probe(node)
        writer.write(b"2\r\n[]\r\n" * 1_000)
        async with asyncio.timeout(PATIENCE_S):
            assert (await reader.readline()).startswith(b"HTTP/1.1 400")
        writer.close()


@pytest.mark.parametrize("chunked", [False, True])
async def test_bodies_that_are_held_back_share_the_room_and_give_it_back(tmp_path: Path, chunked: bool) -> None:
    size, many = 8 * 1024 * 1024, 10
    frame = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
    head = f"POST /v2/models/{MODEL}/infer HTTP/1.1\r\nHost: localhost\r\n{frame}\r\n\r\n".encode()
    body = (b"%x\r\n" % size if chunked else b"") + bytes(size - 1)

    async with open_node(served(tmp_path), body_s=PATIENCE_S) as node, asyncio.timeout(PATIENCE_S):
        held = [await asyncio.open_connection("127.0.0.1", node.server.port) for _ in range(many)]
        answers = [asyncio.create_task(reader.readline()) for reader, _ in held]
        for answer, (_, writer) in zip(answers, held, strict=True):
            writer.write(head + body)
            while not answer.done() and writer.transport.get_write_buffer_size():  # noqa: ASYNC110 - sent, or refused
                await asyncio.sleep(0.001)
        refused = [answer for answer in answers if answer.done()]
        assert len(refused) >= many - 5
        assert all(answer.result().startswith(b"HTTP/1.1 429") for answer in refused)
        assert 0 < node.server.body_memory.taken <= MAX_BYTES
        await probe(node)
        for _, writer in held:
            writer.transport.abort()
            writer.close()
        await asyncio.gather(*answers, return_exceptions=True)
        while node.server.body_memory.taken:  # noqa: ASYNC110 - until the server has seen them go
            await asyncio.sleep(0.001)


async def test_a_small_request_finds_room_beside_large_ones(tmp_path: Path) -> None:
    memory = BodyMemory(0)
    async with open_node(served(tmp_path, shape=(1, 64, 64)), body_memory=memory) as node:
        assert (await node.infer(request_of(images(1, shape=(1, 64, 64))))).status_code == 200
        answer = await node.infer(request_of(images(20, shape=(1, 64, 64))))
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
        assert node.telemetry.totals()[MODEL].refused == {"busy": 1}


async def test_a_request_that_fails_behind_a_wait_leaves_nothing_for_the_garbage_collector() -> None:
    """What it held, eight megabytes perhaps, is freed with the answer, not when somebody collects."""

    class Argument: ...

    failing: list[asyncio.Future[None]] = [asyncio.get_running_loop().create_future()] * 2

    async def waits(held: Argument) -> str:
        try:
            await failing.pop()
        except BadInput:
            return "refused"
        return "answered"

    held = Argument()
    gone = weakref.ref(held)
    begun = waits(held)
    del held
    waiting = asyncio.create_task(rest_of(begun, begun.send(None)))
    del begun
    gc.collect()
    gc.disable()
    try:
        failing.pop().set_exception(BadInput("no"))
        await asyncio.wait([waiting])
        assert waiting.result() == "refused"
        del waiting
        assert gone() is None
    finally:
        gc.enable()
