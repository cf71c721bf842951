"""One connection of the HTTP server: reads requests from bytes and answers them one after another.

1. A request that waits for nothing is answered in the call that brings its last byte: no task, no thread, no other turn of the
   loop. One that waits continues in a task (inline.py).
2. What the client sent behind it waits for its turn (fair_queue.py). At most _READ_AHEAD bytes of it are read meanwhile.
3. Every state has a deadline: for a head, for a body, for an answer to be read, for the next request. The server's one slow timer
   calls `overdue`.
4. A request that breaks the protocol is answered, and then the connection ends: where the next request starts is not known.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from littoral_node.serving.http.errors import BadRequest, BodyTooLarge, HttpError, RequestTimeout
from littoral_node.serving.http.handler import Handler, HttpLimits, Reply
from littoral_node.serving.http.http1 import MAX_HEAD_BYTES, Chunks, Head, parse_head
from littoral_node.serving.http.inline import rest_of
from littoral_node.serving.http.writing import COALESCED_BYTES, LINGER_S, end_after_answer, head_bytes

_READ_BYTES = 64 * 1024
"""The most that one connection reads in one turn of the loop, so that large bodies take turns too."""
_READ_AHEAD = 64 * 1024
"""The most bytes of later requests that are buffered while one is answered."""


class Connection(asyncio.Protocol):
    def __init__(self, handler: Handler, limits: HttpLimits, monotonic: Callable[[], float]) -> None:
        self._handler, self._limits, self._monotonic = handler, limits, monotonic
        self._errors: tuple[type[Exception], ...] = (HttpError, *handler.errors)
        self._transport: Any = None
        self._buffer: bytes | bytearray = b""
        self._at = 0  # the next byte of the buffer to read
        self._partial = False  # a part of a head is here
        self._head: Head | None = None
        self._last: tuple[bytes, Head] | None = None  # most clients repeat their head
        self._known: Head | None = None  # the last head that the handler accepted
        self._chunks: Chunks | None = None
        self._end: Callable[[], None] | None = None  # ends the work that the handler began
        self._reserved = 0  # bytes of memory, see Handler.reserve
        self._task: asyncio.Task[Reply] | None = None
        self._queued = False  # waits for its turn
        self._ended = False  # the client sends no more
        self._lingers = self._writes = False
        self._unsent = b""  # an answer that waits for those of other connections
        self.deadline = monotonic() + limits.head_s

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
        if self._transport is None:  # with TLS, data that ends the handshake comes before connection_made
            return
        if self._task is None and not self._writes and not self._queued:
            self._advance()
        elif len(self._buffer) - self._at > _READ_AHEAD:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        self._send()
        self._ended = True
        return self._task is not None or self._queued or self._writes  # a client that has sent everything still reads its answers

    def connection_lost(self, exc: Exception | None) -> None:
        self._lingers = True
        self._give_back()  # a running answer is completed, and dropped
        self._buffer, self._at = b"", 0
        self._handler.gone(self)

    def pause_writing(self) -> None:
        self._writes = True
        self.deadline = self._monotonic() + self._limits.write_s

    def resume_writing(self) -> None:
        self._writes = False
        self._next()

    def overdue(self, now: float) -> None:
        """Ends what has waited too long. Called every second or so."""
        if now < self.deadline or self._task is not None:
            return
        if self._lingers or self._writes or not (self._partial or self._head):
            self._transport.abort()
        else:
            part, limit_s = ("body", self._limits.body_s) if self._head else ("request", self._limits.head_s)
            self._refuse(RequestTimeout(f"{part}: did not come in {limit_s:g} s"))

    def close(self) -> None:
        """At once where nothing is under way, else behind the answer."""
        if self._head is None:
            self._send()
            self._transport.close()
        else:
            self._head = replace(self._head, keep_alive=False)

    def abort(self) -> None:
        self._transport.abort()

    def _advance(self) -> None:
        """Answers a complete request, or reads more of it. What is behind it waits for its turn."""
        try:
            if self._head is None and not self._head_came():
                return
            if self._head is not None:  # a refused request is already answered
                if (body := self._body()) is None:
                    return
                self._answer(body)
        except self._errors as error:
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
        """None: more is to come. Raises BadRequest."""
        if self._last is not None and self._buffer.startswith(self._last[0], self._at):
            self._at += len(self._last[0])
            return self._last[1]
        if self._buffer.startswith(b"\r\n", self._at):
            self._at += 2  # one empty line before a request is ignored (RFC 9112, 2.2)
        end = self._buffer.find(b"\r\n\r\n", self._at, self._at + MAX_HEAD_BYTES + 4)
        if end < 0:
            if (there := len(self._buffer) - self._at) >= MAX_HEAD_BYTES + 4:
                raise BadRequest(f"request: its headers have more than {MAX_HEAD_BYTES} bytes")
            if there and not self._partial:
                self._partial = True
                self.deadline = min(self.deadline, self._monotonic() + self._limits.head_s)
            return None
        head = parse_head(bytes(self._buffer[self._at : end]))
        self._last = bytes(self._buffer[self._at : end + 4]), head
        self._at = end + 4
        return head

    def _head_came(self) -> bool:
        if (head := self._next_head()) is None:
            return False
        self._partial = False
        self._head = head
        there = len(self._buffer) - self._at
        if head.length is not None and head.length > self._limits.body_bytes:
            raise BodyTooLarge(f"body: {head.length} bytes, at most {self._limits.body_bytes}", hint="send a smaller batch")
        try:
            self._end = self._handler.begin(head, known=head is self._known)
        except self._errors as error:
            if head.length is None or there < head.length:
                raise
            self._at += head.length
            self._reply(self._handler.refusal(error, head))
            return True
        self._known = head
        self._chunks = Chunks(self._limits.body_bytes) if head.length is None else None
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
        if there > self._limits.uncounted_bytes:
            self._reserved = self._handler.reserve(there, self._reserved)
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
        if there > self._limits.uncounted_bytes:
            self._reserved = self._handler.reserve(there, self._reserved)
        if body is not None:
            self._chunks = None
        elif self._at > before and self._at < len(self._buffer):
            self._queue()  # there may be more complete chunks
        return body

    def _answer(self, body: bytes | bytearray) -> None:
        assert self._head is not None
        answering = self._handler.answer(self._head, body)
        try:
            waits_for = answering.send(None)
        except StopIteration as done:
            self._reply(done.value)
        else:
            self._task = asyncio.get_running_loop().create_task(rest_of(answering, waits_for))
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
        """Whether the rest of the buffer must wait now."""
        return self._lingers or self._queued or self._task is not None or self._writes or self._transport.is_closing()

    def _reply(self, reply: Reply) -> None:
        head, self._head = self._head, None
        self._give_back()
        if self._transport.is_closing():
            return
        keep_alive = head is not None and head.keep_alive
        self.deadline = self._monotonic() + self._limits.idle_s
        data = head_bytes(self._handler, reply, keep_alive=keep_alive, old=head is not None and head.old)
        if head is None or head.method != "HEAD":
            data += reply.body
        self._write(data, at_once=not keep_alive or len(data) > COALESCED_BYTES)
        if not keep_alive:
            self._lingers = True
            self._transport.close()

    def _write(self, data: bytes, *, at_once: bool) -> None:
        """Sends at once also where an answer waits already, so that at most one waits: then the transport notices a client that
        does not read."""
        at_once = at_once or bool(self._unsent)
        self._unsent += data
        if at_once or not self._handler.coalesce(self._send):
            self._send()

    def _send(self) -> None:
        data, self._unsent = self._unsent, b""
        if data and not self._transport.is_closing():
            self._transport.write(data)

    def _refuse(self, error: Exception) -> None:
        """Answers, and ends the connection once the client has read the answer: where its request ends is not known."""
        reply = self._handler.refusal(error, self._head)
        without_body = self._head is not None and self._head.method == "HEAD"
        self._head, self._chunks, self._partial = None, None, False
        self._buffer, self._at = b"", 0
        self._give_back()
        if self._transport.is_closing():
            return
        self._lingers = True
        data = head_bytes(self._handler, reply, keep_alive=False)
        self._write(data if without_body else data + reply.body, at_once=True)
        self.deadline = self._monotonic() + LINGER_S
        end_after_answer(self._transport, drain=self._handler.drains(self))

    def _give_back(self) -> None:
        if self._task is not None:
            return
        if self._reserved:
            self._handler.release(self._reserved)
            self._reserved = 0
        if self._end is not None:
            end, self._end = self._end, None
            end()
