"""One connection of the HTTP server: bytes come in, requests are cut out of them and answered one after another.

A request that needs no waiting is answered where its last byte comes in: no task, no thread, no second look by the loop. What has
to wait goes on in a task, and what came behind it in the same breath waits for its turn (turns.py). Every state has a deadline,
kept by the server's one slow timer: for a head, for a body, for an answer to be read, for the next request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any, Protocol

from littoral.errors import BadInput, FleetError, TooLarge
from littoral_node.serving.http.begun import continued
from littoral_node.serving.http.http1 import MAX_HEAD_BYTES, Chunks, Head, head_of, parse_head
from littoral_node.serving.room import FREE_BYTES, Room

LINGER_S = 2.0
UNHEARD_S = 0.1
_READ_BYTES = 64 * 1024
"""At most, in one turn of the loop, of one connection: many that send much take turns, too."""
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
    """A request that has begun does not come: it would hold one of the places for ever."""

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
    """Who answers. `date`: the header's value, of this second. `usual`: the head of the answer that mostly goes out, up to the
    length of its body."""

    room: Room
    date: str
    usual: bytes

    def admit(self, connection: Held) -> bool:
        """False: there are too many connections."""
        ...

    def gone(self, connection: Held) -> None: ...

    def hears_out(self, connection: Held) -> bool:
        """Whether what a client still sends whose request was refused is read, and forgotten, so that it reads its answer."""
        ...

    def begin(self, head: Head, *, known: bool) -> Callable[[], None] | None:
        """Before a body is read; gives what ends what it began. Raises FleetError where no body is wanted.

        Args:
            known: it began for this very head before, on this connection.
        """
        ...

    def answer(self, head: Head, body: bytes | bytearray) -> Coroutine[Any, Any, Reply]:
        """Raises nothing but CancelledError."""
        ...

    def refusal(self, error: FleetError, head: Head | None) -> Reply:
        """`head`: of the request that is refused; None: it has none that can be read."""
        ...

    def holds(self, send: Callable[[], None]) -> bool:
        """See Outbox.holds."""
        ...

    def later(self, go_on: Callable[[], None]) -> None:
        """See Turns.later."""
        ...


class Connection(asyncio.Protocol):
    def __init__(self, handler: Handler, limits: Limits, monotonic: Callable[[], float]) -> None:
        self._handler, self._limits, self._monotonic = handler, limits, monotonic
        self._transport: Any = None
        self._buffer: bytes | bytearray = b""
        self._at = 0  # of the buffer, up to here it is read
        self._begun = False  # some of a head is there
        self._head: Head | None = None
        self._last: tuple[bytes, Head] | None = None  # clients mostly repeat themselves
        self._known: Head | None = None  # the last one for which the handler began
        self._chunks: Chunks | None = None
        self._end: Callable[[], None] | None = None  # of what the handler began
        self._held = 0  # bytes of room
        self._task: asyncio.Task[Reply] | None = None
        self._queued = False  # for its turn
        self._ended = False  # the client will say no more
        self._lingers = self._writes = False
        self._unsent = b""  # an answer that waits for those of other connections
        self.deadline = monotonic() + limits.head_s

    # -- what asyncio calls ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._transport.max_size = _READ_BYTES
        if not self._handler.admit(self):
            self._lingers = True
            self._transport.abort()
        elif self._buffer:
            self._advance()

    def data_received(self, data: bytes) -> None:
        if self._lingers:
            return
        if self._at == len(self._buffer):
            self._buffer, self._at = data, 0
        else:
            if self._at or not isinstance(self._buffer, bytearray):
                self._buffer, self._at = bytearray(memoryview(self._buffer)[self._at :]), 0
            self._buffer += data
        if self._transport is None:  # behind TLS, what comes with a handshake's end is here before we are told of it
            return
        if self._task is None and not self._writes and not self._queued:
            self._advance()
        elif len(self._buffer) - self._at > _READ_AHEAD:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        self._send()
        self._ended = True
        return self._task is not None or self._queued or self._writes  # a client that has said all still reads its answers

    def connection_lost(self, exc: Exception | None) -> None:
        self._lingers = True
        self._give_back()  # an answer that is under way is finished, and nobody reads it
        self._buffer, self._at = b"", 0
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
        if self._lingers or self._writes or not (self._begun or self._head):
            self._transport.abort()
        else:
            part, limit_s = ("body", self._limits.body_s) if self._head else ("request", self._limits.head_s)
            self._refuse(TooSlow(f"{part}: did not come in {limit_s:g} s"))

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
        """Answers the request that is there whole, or reads on in it; what is behind it waits for its turn."""
        try:
            if self._head is None and not self._head_came():
                return
            if self._head is not None:  # a refused one is answered already
                if (body := self._body()) is None:
                    return
                self._answer(body)
        except FleetError as error:
            self._refuse(error)
            return
        if self._at < len(self._buffer):
            self._queue()

    def _queue(self) -> None:
        if not self._waits():
            self._queued = True
            self._handler.later(self._turn)

    def _turn(self) -> None:
        self._queued = False
        self._next()

    def _next_head(self) -> Head | None:
        """None: more is to come. Raises BadInput."""
        if self._last is not None and self._buffer.startswith(self._last[0], self._at):
            self._at += len(self._last[0])
            return self._last[1]
        if self._buffer.startswith(b"\r\n", self._at):
            self._at += 2  # one empty line before a request is passed over (RFC 9112, 2.2)
        end = self._buffer.find(b"\r\n\r\n", self._at, self._at + MAX_HEAD_BYTES + 4)
        if end < 0:
            if (there := len(self._buffer) - self._at) >= MAX_HEAD_BYTES + 4:
                raise BadInput(f"request: its headers are over {MAX_HEAD_BYTES} bytes")
            if there and not self._begun:
                self._begun = True
                self.deadline = min(self.deadline, self._monotonic() + self._limits.head_s)
            return None
        head = parse_head(bytes(self._buffer[self._at : end]))
        self._last = bytes(self._buffer[self._at : end + 4]), head
        self._at = end + 4
        return head

    def _head_came(self) -> bool:
        if (head := self._next_head()) is None:
            return False
        self._begun = False
        self._head = head
        there = len(self._buffer) - self._at
        if head.length is not None and head.length > self._limits.body_bytes:
            raise TooLarge(f"body: {head.length} bytes, at most {self._limits.body_bytes} are taken", hint="send a smaller batch")
        try:
            self._end = self._handler.begin(head, known=head is self._known)
        except FleetError as error:
            if head.length is None or there < head.length:
                raise
            self._at += head.length
            self._reply(self._handler.refusal(error, head))
            return True
        self._known = head
        if head.length is None:
            self._chunks = Chunks(self._limits.body_bytes)
        if head.length != 0 and (head.length is None or there < head.length):
            self.deadline = self._monotonic() + self._limits.body_s
            if head.expects:
                self._write(b"HTTP/1.1 100 Continue\r\n\r\n", at_once=True)
        return True

    def _body(self) -> bytes | bytearray | None:
        """None: more is to come."""
        assert self._head is not None
        if self._chunks is not None:
            return self._from_chunks(self._chunks)
        end = self._at + (self._head.length or 0)
        there = min(end, len(self._buffer)) - self._at
        if there > FREE_BYTES:
            self._held = self._handler.room.hold(there, self._held)
        if len(self._buffer) < end:
            return None
        if self._at == 0 and len(self._buffer) == end:
            body, self._buffer = self._buffer, b""
        else:
            body, self._at = self._buffer[self._at : end], end
        return body

    def _from_chunks(self, chunks: Chunks) -> bytearray | None:
        before = self._at
        self._at, body = chunks.read(self._buffer, self._at)
        there = chunks.size + len(self._buffer) - self._at
        if there > FREE_BYTES:
            self._held = self._handler.room.hold(there, self._held)
        if body is not None:
            self._chunks = None
        elif self._at > before and self._at < len(self._buffer):
            self._queue()  # there may be more of it
        return body

    def _answer(self, body: bytes | bytearray) -> None:
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
        if self._waits():
            return
        if self._at < len(self._buffer):
            self._advance()
        waits = self._waits()
        if not waits or len(self._buffer) - self._at <= _READ_AHEAD:
            self._transport.resume_reading()
        if self._ended and not waits:
            self._send()
            self._transport.close()

    def _waits(self) -> bool:
        """Whether no more of what has come is looked at now."""
        return self._lingers or self._queued or self._task is not None or self._writes or self._transport.is_closing()

    def _reply(self, reply: Reply) -> None:
        head, self._head = self._head, None
        self._give_back()
        if self._transport.is_closing():
            return
        keep_alive = head is not None and head.keep_alive
        self.deadline = self._monotonic() + self._limits.idle_s
        if head is None or head.method != "HEAD":
            data = self._bytes_of(reply, keep_alive=keep_alive, old=head is not None and head.old) + reply.body
        else:
            data = self._bytes_of(reply, keep_alive=keep_alive, old=head.old)
        self._write(data, at_once=not keep_alive or len(data) > _SMALL)
        if not keep_alive:
            self._lingers = True
            self._transport.close()

    def _bytes_of(self, reply: Reply, *, keep_alive: bool, old: bool = False) -> bytes:
        """An answer's head."""
        if keep_alive and reply.status == 200 and not (old or reply.headers) and reply.content_type == "application/json":
            return b"%b%d\r\n\r\n" % (self._handler.usual, len(reply.body))
        headers = (("content-type", reply.content_type), ("date", self._handler.date), *reply.headers)
        return head_of(reply.status, len(reply.body), headers, keep_alive=keep_alive, old=old)

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
        without_body = self._head is not None and self._head.method == "HEAD"
        self._head = self._chunks = None
        self._begun = False
        self._buffer, self._at = b"", 0
        self._give_back()
        if self._transport.is_closing():
            return
        self._lingers = True
        data = self._bytes_of(reply, keep_alive=False)
        self._write(data if without_body else data + reply.body, at_once=True)
        self.deadline = self._monotonic() + LINGER_S  # closed at once, what still comes would take the answer with it
        if self._handler.hears_out(self):
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()  # it is answered; that it goes on sending holds up nobody, and is ended soon
            asyncio.get_running_loop().call_later(UNHEARD_S, self._transport.abort)
        if self._transport.can_write_eof():
            try:
                self._transport.write_eof()
            except OSError:  # the client has gone, and the loop has not told us yet
                self._transport.abort()

    def _give_back(self) -> None:
        if self._task is not None:
            return
        if self._held:
            self._handler.room.leave(self._held)
            self._held = 0
        if self._end is not None:
            end, self._end = self._end, None
            end()
