"""One connection of the HTTP server: bytes come in, requests are cut out of them and answered one after another.

A request that needs no waiting is answered where its last byte comes in: no task, no thread, no second look by the loop. What has
to wait goes on in a task. Every state has a deadline, kept by the server's one slow timer: for a head, for a body, for an answer
to be read, for the next request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any, Protocol

from edge_node.serving.begun import continued
from edge_node.serving.http1 import MAX_HEAD_BYTES, Chunks, Head, head_of, parse_head
from littoral.errors import BadInput, FleetError, TooLarge

LINGER_S = 2.0
_SMALL = 16 * 1024
"""Bytes of an answer that may wait for others."""
_READ_AHEAD = 64 * 1024
"""Bytes of later requests that are kept while one is answered."""


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds, and bytes of a body."""

    head_s: float = 10.0
    body_s: float = 10.0
    idle_s: float = 75.0  # between two requests
    write_s: float = 30.0  # for a client to read its answer
    body_bytes: int = 8 * 1024 * 1024


class TooSlow(FleetError):
    """A request's body does not come: it would hold one of the places for ever."""

    code = "too-slow"
    retryable = True


class Held(Protocol):
    """What takes one of the places for connections."""

    def overdue(self, now: float) -> None:
        """Ends what has waited too long. Called every second or so."""
        ...

    def close(self) -> None:
        """At once where nothing is under way, else behind the answer."""
        ...

    def abort(self) -> None: ...


class Handler(Protocol):
    """Who answers."""

    def admit(self, connection: Held) -> bool:
        """False: there are too many connections."""
        ...

    def gone(self, connection: Held) -> None: ...

    def begin(self, head: Head) -> Callable[[], None] | None:
        """Before a body is read; gives what ends what it began. Raises FleetError where no body is wanted."""
        ...

    def answer(self, head: Head, body: bytes) -> Coroutine[Any, Any, Reply]:
        """Raises nothing but CancelledError."""
        ...

    def refusal(self, error: FleetError, head: Head | None) -> Reply:
        """`head`: of the request that is refused; None: it has none that can be read."""
        ...

    def holds(self, send: Callable[[], None]) -> bool:
        """See Outbox.holds."""
        ...


class Connection(asyncio.Protocol):
    def __init__(self, handler: Handler, limits: Limits, monotonic: Callable[[], float]) -> None:
        self._handler, self._limits, self._monotonic = handler, limits, monotonic
        self._transport: Any = None
        self._buffer: bytes | bytearray = b""
        self._head: Head | None = None
        self._last: tuple[bytes, Head] = (b"", Head("", "", (), {}, False, 0))  # clients mostly repeat themselves
        self._chunks: Chunks | None = None
        self._end: Callable[[], None] | None = None  # of what the handler began
        self._task: asyncio.Task[Reply] | None = None
        self._lingers = self._writes = False
        self._unsent = b""  # an answer that waits for those of other connections
        self.deadline = monotonic() + limits.head_s

    # -- what asyncio calls ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        if not self._handler.admit(self):
            self._lingers = True
            self._transport.abort()
        elif self._buffer:
            self._advance()

    def data_received(self, data: bytes) -> None:
        if self._lingers:
            return
        if self._transport is None:  # behind TLS, what comes with a handshake's end is here before we are told of it
            self._buffer = bytes(self._buffer) + data
            return
        if not self._buffer:
            self._buffer = data
        else:
            if not isinstance(self._buffer, bytearray):
                self._buffer = bytearray(self._buffer)
            self._buffer += data
        if self._task is None and not self._writes:
            self._advance()
        elif len(self._buffer) > _READ_AHEAD:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        self._send()
        return self._task is not None  # a client that has said all still reads its answer

    def connection_lost(self, exc: Exception | None) -> None:
        self._lingers = True
        self._give_back()  # an answer that is under way is finished, and nobody reads it
        self._handler.gone(self)

    def pause_writing(self) -> None:
        self._writes = True
        self.deadline = self._monotonic() + self._limits.write_s

    def resume_writing(self) -> None:
        self._writes = False
        self._next()

    # -- what the server calls -------------------------------------------------------------------------------------

    def overdue(self, now: float) -> None:
        """Ends what has waited too long. Called every second or so."""
        if now < self.deadline or self._task is not None:
            return
        if self._head is not None and not self._lingers:
            self._refuse(TooSlow(f"body: did not come in {self._limits.body_s:g} s"))
        else:
            self._transport.abort()

    def close(self) -> None:
        """At once where nothing is under way, else behind the answer."""
        if self._head is None:
            self._send()
            self._transport.close()
        else:
            self._head = replace(self._head, keep_alive=False)

    def abort(self) -> None:
        self._transport.abort()

    # -- inside ----------------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Answers every request that is there whole."""
        try:
            while self._task is None and not self._lingers and not self._writes:
                if self._head is None:
                    if not self._head_came():
                        return
                    continue  # a refused one is answered already
                if (body := self._body()) is None:
                    return
                self._answer(body)
        except FleetError as error:
            self._refuse(error)

    def _head_came(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > MAX_HEAD_BYTES:
                raise BadInput(f"request: its headers are over {MAX_HEAD_BYTES} bytes")
            return False
        raw = bytes(self._buffer[:end])
        head = self._last[1] if raw == self._last[0] else parse_head(raw)
        self._last = (raw, head)
        self._buffer = self._buffer[end + 4 :]
        self._head = head
        if head.length is not None and head.length > self._limits.body_bytes:
            raise TooLarge(f"body: {head.length} bytes, at most {self._limits.body_bytes} are taken", hint="send a smaller batch")
        try:
            self._end = self._handler.begin(head)
        except FleetError as error:
            if head.length is None or len(self._buffer) < head.length:
                raise
            self._buffer = self._buffer[head.length :]
            self._reply(self._handler.refusal(error, head))
            return True
        if head.length is None:
            self._chunks = Chunks(self._limits.body_bytes)
        if head.length != 0 and (head.length is None or len(self._buffer) < head.length):
            self.deadline = self._monotonic() + self._limits.body_s
            if head.expects:
                self._write(b"HTTP/1.1 100 Continue\r\n\r\n", at_once=True)
        return True

    def _body(self) -> bytes | None:
        """None: more is to come."""
        assert self._head is not None
        if self._chunks is not None:
            if not isinstance(self._buffer, bytearray):
                self._buffer = bytearray(self._buffer)
            body = self._chunks.read(self._buffer)
            if body is not None:
                self._chunks = None
            return body
        length = self._head.length or 0
        if len(self._buffer) < length:
            return None
        if len(self._buffer) == length:
            body, self._buffer = bytes(self._buffer), b""
        else:
            body, self._buffer = bytes(self._buffer[:length]), self._buffer[length:]
        return body

    def _answer(self, body: bytes) -> None:
        assert self._head is not None
        answering = self._handler.answer(self._head, body)
        try:
            waits_for = answering.send(None)
        except StopIteration as done:
            self._reply(done.value)
        else:
            self._task = asyncio.get_running_loop().create_task(continued(answering, waits_for))
            self._task.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Task[Reply]) -> None:
        self._task = None
        if task.cancelled():
            self._give_back()
            self._transport.abort()
        else:
            self._reply(task.result())
            self._next()

    def _next(self) -> None:
        if not self._lingers and not self._transport.is_closing() and self._task is None and not self._writes:
            self._transport.resume_reading()
            self._advance()

    def _reply(self, reply: Reply) -> None:
        head, self._head = self._head, None
        self._give_back()
        if self._transport.is_closing():
            return
        keep_alive = head is not None and head.keep_alive
        self.deadline = self._monotonic() + self._limits.idle_s
        headers = (("content-type", reply.content_type), *reply.headers)
        body = b"" if head is not None and head.method == "HEAD" else reply.body
        data = head_of(reply.status, len(reply.body), headers, keep_alive=keep_alive) + body
        self._write(data, at_once=not keep_alive or len(data) > _SMALL)
        if not keep_alive:
            self._lingers = True
            self._transport.close()

    def _write(self, data: bytes, *, at_once: bool) -> None:
        """At once too where an answer waits already, so that no more than one does; what transport it goes over then knows when
        the client does not read."""
        at_once = at_once or bool(self._unsent)
        self._unsent += data
        if at_once or not self._handler.holds(self._send):
            self._send()

    def _send(self) -> None:
        data, self._unsent = self._unsent, b""
        if data and not self._transport.is_closing():
            self._transport.write(data)

    def _refuse(self, error: FleetError) -> None:
        """Answers, and ends the connection once the client has read it: where its request ends is not known."""
        reply = self._handler.refusal(error, self._head)
        self._head = self._chunks = None
        self._buffer = b""
        self._give_back()
        if self._transport.is_closing():
            return
        self._lingers = True
        headers = (("content-type", reply.content_type), *reply.headers)
        self._write(head_of(reply.status, len(reply.body), headers, keep_alive=False) + reply.body, at_once=True)
        self.deadline = self._monotonic() + LINGER_S  # closed at once, what still comes would take the answer with it
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def _give_back(self) -> None:
        if self._end is not None and self._task is None:
            end, self._end = self._end, None
            end()
