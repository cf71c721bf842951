"""How a connection writes the head of an answer, and how it ends."""

from __future__ import annotations

import asyncio
from typing import Any

from littoral_node.serving.http.handler import Handler, Reply
from littoral_node.serving.http.http1 import head_of

COALESCED_BYTES = 16 * 1024
"""The most bytes of an answer that may wait for those of other connections."""
LINGER_S = 2.0
"""For a client whose request was refused to read its answer."""
UNREAD_S = 0.1
"""From the answer to the end of a connection whose further input is not read."""


def head_bytes(handler: Handler, reply: Reply, *, keep_alive: bool, old: bool = False) -> bytes:
    """The head of an answer.

    Args:
        old: the request was HTTP/1.0.
    """
    if keep_alive and reply.status == 200 and not (old or reply.headers) and reply.content_type == "application/json":
        return b"%b%d\r\n\r\n" % (handler.usual, len(reply.body))
    headers = (("content-type", reply.content_type), ("date", handler.date), *reply.headers)
    return head_of(reply.status, len(reply.body), headers, keep_alive=keep_alive, old=old)


def end_after_answer(transport: Any, *, drain: bool) -> None:
    """Ends a connection behind its last answer, so that the client reads it: an immediate close would destroy the answer.

    Args:
        drain: further input is read and dropped; else it is not read, and the connection ends in UNREAD_S.
    """
    if drain:
        transport.resume_reading()
    else:
        transport.pause_reading()
        asyncio.get_running_loop().call_later(UNREAD_S, transport.abort)
    if transport.can_write_eof():
        try:
            transport.write_eof()
        except OSError:  # the client has gone; connection_lost comes later
            transport.abort()
