"""Open Inference Protocol v2 over REST, on an HTTP/1.1 server of its own in the agent's event loop.

    GET  /v2                                    this server
    GET  /v2/health/live, /v2/health/ready      200, or 503 while nothing is served
    GET  /v2/models/NAME[/versions/DIGEST]      metadata
    GET  /v2/models/NAME[/versions/DIGEST]/ready
    POST /v2/models/NAME[/versions/DIGEST]/infer
    POST /v2/repository/index                   every model that this node holds; {"ready": true}: only what is served
    POST /v2/repository/models/NAME/load        serves it again
    POST /v2/repository/models/NAME/unload      takes it out of memory
    GET  /metrics                               for Prometheus, see metrics.py

Errors are {"error": text, "hint": text}.

http/ reads requests from bytes and sends the answers; this module answers the requests, rest_requests.py reads their bodies.
"""

from __future__ import annotations

import asyncio
import socket
import time
import traceback
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import orjson

from littoral.errors import FleetError, NotFound, Unavailable
from littoral.exposition import CONTENT_TYPE
from littoral_node.machine.memory import give_back, trim
from littoral_node.serving.body_memory import UNCOUNTED_BYTES
from littoral_node.serving.http.coalescing import Coalescer
from littoral_node.serving.http.connection import Connection
from littoral_node.serving.http.errors import HttpError
from littoral_node.serving.http.fair_queue import FairQueue
from littoral_node.serving.http.handler import ClientConnection, HttpLimits, Reply
from littoral_node.serving.http.handshake import Handshake
from littoral_node.serving.http.http1 import Head, head_of
from littoral_node.serving.http.listening import bound
from littoral_node.serving.listen_options import ListenOptions
from littoral_node.serving.metrics import exposition
from littoral_node.serving.rest_inference import RestInference
from littoral_node.serving.rest_requests import (
    BadMethod,
    check_plain,
    headers_of,
    hint_of,
    inferred,
    methods_of,
    only_ready,
    status_of,
)
from littoral_node.serving.service import Service
from littoral_node.supervision.notify import answers

MAX_CONNECTIONS = 512
MAX_DRAINED = 16
"""Connections whose request was refused and that still send. What more connections send is not read."""
PATIENCE_S = 10.0
BACKLOG = 256
SWEEP_S = 1.0
GIVE_BACK_S = 60.0
"""What requests freed, and code that other work ran, such as renewing a certificate: a millisecond."""
LIVE_PARTS = ("v2", "health", "live")


class HttpServer:
    """Args:
    port: 0: any free one; then `port` is its number.
    """

    errors: tuple[type[Exception], ...] = (FleetError,)

    def __init__(self, service: Service, host: str, port: int, options: ListenOptions | None = None) -> None:
        options = options or ListenOptions()
        body_s, body_bytes = options.body_s, options.max_body_bytes
        self._service = service
        self._host = host
        self.port = port
        self._limits = HttpLimits(head_s=body_s, body_s=body_s, body_bytes=body_bytes, uncounted_bytes=UNCOUNTED_BYTES)
        self._max_connections = options.max_connections or MAX_CONNECTIONS
        self._access, self._tls = options.access, options.tls
        self._server: asyncio.Server | None = None
        self._connections: set[ClientConnection] = set()
        self._refused: set[ClientConnection] = set()  # and drained
        self._emptied = asyncio.Event()
        self._sweeper: asyncio.TimerHandle | None = None
        self._give_back_at = 0.0  # at the start: memory that only that needed
        self._answered = self._answered_before = 0
        self.coalesce = Coalescer().coalesce
        self.later = FairQueue().later
        self.body_memory = options.body_memory
        self.reserve, self.release = self.body_memory.reserve, self.body_memory.release
        self._inference = RestInference(service, self.body_memory, body_bytes)
        self._set_date()

    async def start(self) -> None:
        """Returns when the server accepts requests. Raises Unavailable where the port is in use or must not be used."""
        loop = asyncio.get_running_loop()
        listener = self._listener()
        self.port = int(listener.getsockname()[1])
        context = self._tls.context() if self._tls else None

        def opened() -> asyncio.Protocol:
            if context is None:
                return Connection(self, self._limits, time.monotonic)
            return Handshake(self, self._limits, time.monotonic, context)

        self._server = await loop.create_server(opened, sock=listener, backlog=BACKLOG)
        self._sweep()

    async def stop(self) -> None:
        """Accepts no new connection; closes the open ones once their requests are answered."""
        if self._server is None:
            return
        self._server.close()
        for connection in tuple(self._connections):
            connection.close()
        self._check_emptied()
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._emptied.wait()
        except TimeoutError:
            for connection in tuple(self._connections):
                connection.abort()
        if self._sweeper is not None:
            self._sweeper.cancel()
        await self._server.wait_closed()
        self._server = None

    async def alive(self) -> str:
        """ "" where the server answers: a client since the last call, or else a request of this call. Otherwise the error."""
        if self._answered == self._answered_before and (wrong := await answers(self._host, self.port, tls=self._tls is not None)):
            return wrong
        self._answered_before = self._answered
        return ""

    # -- for connections --------------------------------------------------------------------------------------

    def admit(self, connection: ClientConnection) -> bool:
        if len(self._connections) >= self._max_connections:
            return False
        self._connections.add(connection)
        self._emptied.clear()
        return True

    def gone(self, connection: ClientConnection) -> None:
        self._connections.discard(connection)
        self._refused.discard(connection)
        self._check_emptied()

    def drains(self, connection: ClientConnection) -> bool:
        if len(self._refused) >= MAX_DRAINED:
            return False
        self._refused.add(connection)
        return True

    def begin(self, head: Head, *, known: bool) -> Callable[[], None] | None:
        """Checks who calls. A request for inference counts as in flight before its body is read; its model must be served."""
        if not known:
            self._access.check_page(head.authority, head.headers)
            if head.parts != LIVE_PARTS:
                self._access.check(head.headers.get("authorization"))
        if (asked := inferred(head)) is None:
            return None
        self._service.check_version(*asked)
        self._service.enter()
        return self._service.leave

    async def answer(self, head: Head, body: bytes | bytearray) -> Reply:
        self._answered += 1
        try:
            return await self._routed(head, body)
        except (FleetError, HttpError) as error:
            return self.refusal(error, head)
        except Exception as error:  # noqa: BLE001 - the boundary: a bug answers this request alone
            traceback.print_exc()
            return Reply(500, orjson.dumps({"error": f"internal: {type(error).__name__}", "hint": "the agent's log says more"}))

    def refusal(self, error: Exception, head: Head | None) -> Reply:
        assert isinstance(error, FleetError | HttpError)
        if head is not None and (asked := inferred(head)) is not None:
            self._service.refused(asked[0], error)
        status = status_of(error)
        return Reply(
            status, orjson.dumps({"error": error.message, "hint": hint_of(error, status, head)}), headers_of(status, head)
        )

    # -- inside ----------------------------------------------------------------------------------------------------

    async def _routed(self, head: Head, body: bytes | bytearray) -> Reply:
        service = self._service
        if (asked := inferred(head)) is not None:
            return await self._inference.answer(*asked, head, body)
        match "GET" if head.method == "HEAD" else head.method, head.parts:
            case "GET", ["v2"]:
                return _ok(service.about())
            case "GET", ["v2", "health", "live"]:
                return _ok(service.health(live=True))
            case "GET", ["v2", "health", "ready"]:
                ready = service.ready()
                return Reply(200 if ready else 503, orjson.dumps(service.health(ready=ready, models=service.slots.names())))
            case "GET", ["metrics"]:
                return Reply(200, exposition(service.telemetry, service.slots), content_type=CONTENT_TYPE)
            case "GET", ["v2", "models", name]:
                return _ok(service.model(name))
            case "GET", ["v2", "models", name, "versions", version]:
                return _ok(service.model(name, version))
            case "GET", ["v2", "models", name, "ready"]:
                service.check_version(name)
                return _ok({"name": name, "ready": True})
            case "GET", ["v2", "models", name, "versions", version, "ready"]:
                service.check_version(name, version)
                return _ok({"name": name, "ready": True})
            case "POST", ["v2", "repository", "index"]:
                return _ok(service.index(ready=only_ready(body)))
            case "POST", ["v2", "repository", "models", name, "load" | "unload" as action]:
                self._access.check_repository()
                check_plain(body)
                await (service.repository.load if action == "load" else service.repository.unload)(name)
                return _ok({})
        if methods := methods_of(head.parts):
            if head.method == "OPTIONS":
                return Reply(200, b"", (("allow", ", ".join(methods)),))
            raise BadMethod(f"{head.method} {head.path[:80]}: does not support this method", hint=f"by {' or '.join(methods)}")
        raise NotFound(
            f"{head.method} {head.path[:80]}: there is nothing here", hint="this server speaks /v2 (Open Inference Protocol)"
        )

    def _sweep(self) -> None:
        self._sweeper = asyncio.get_running_loop().call_later(min(SWEEP_S, self._limits.body_s / 4), self._sweep)
        now = time.monotonic()
        for connection in tuple(self._connections):
            connection.overdue(now)
        self._set_date()
        if self.body_memory.has_emptied():
            trim()
        if now >= self._give_back_at:
            self._give_back_at = now + GIVE_BACK_S
            give_back()

    def _set_date(self) -> None:
        self.date = formatdate(time.time(), usegmt=True)  # noqa: TID251 - only sent, decides nothing
        headers = (("content-type", "application/json"), ("date", self.date))
        self.usual = head_of(200, 0, headers, keep_alive=True).removesuffix(b"0\r\n\r\n")

    def _check_emptied(self) -> None:
        if not self._connections:
            self._emptied.set()

    def _listener(self) -> socket.socket:
        try:
            return bound(self._host, self.port)
        except OSError as error:
            raise Unavailable(
                f"http: cannot listen on {self._host}:{self.port}: {error.strerror}", hint="choose another with --http HOST:PORT"
            ) from error


def _ok(body: Any) -> Reply:
    return Reply(200, orjson.dumps(body))
