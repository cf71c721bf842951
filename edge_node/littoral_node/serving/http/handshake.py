"""A connection before its TLS handshake is complete."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

from littoral_node.serving.http.connection import Connection
from littoral_node.serving.http.handler import Handler, HttpLimits


class Handshake(asyncio.Protocol):
    """Counts among the connections from the start: a client that never completes the handshake counts too."""

    def __init__(self, handler: Handler, limits: HttpLimits, monotonic: Callable[[], float], context: ssl.SSLContext) -> None:
        self._handler, self._limits, self._monotonic, self._context = handler, limits, monotonic, context
        self._transport: Any = None
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        if not self._handler.admit(self):
            self._transport.abort()
            return
        self._transport.pause_reading()  # the first bytes are for the protocol that start_tls sets
        self._task = asyncio.get_running_loop().create_task(self._secure())

    def overdue(self, now: float) -> None:
        """asyncio ends a handshake that takes too long."""

    def close(self) -> None:
        self._transport.abort()

    def abort(self) -> None:
        self._transport.abort()

    async def _secure(self) -> None:
        connection = Connection(self._handler, self._limits, self._monotonic)
        try:
            secured = await asyncio.get_running_loop().start_tls(
                self._transport, connection, self._context, server_side=True, ssl_handshake_timeout=self._limits.head_s
            )
        except OSError:  # no TLS, or too slow; ssl's errors and TimeoutError are among them
            secured = None
            self._transport.abort()
        finally:
            self._handler.gone(self)
        if secured is not None:
            connection.connection_made(secured)
