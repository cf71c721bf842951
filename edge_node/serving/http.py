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

Errors are {"error": words, "hint": words}.

connection.py cuts requests out of bytes; here is what they mean.
"""

from __future__ import annotations

import asyncio
import socket
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from edge_node.memory import give_back
from edge_node.notify import answers
from edge_node.runtimes.ended import BadValues, RuntimeCrash, RuntimeHang
from edge_node.serving.access import Access, NoToken
from edge_node.serving.connection import Connection, Held, Limits, Reply, TooSlow
from edge_node.serving.handshake import Handshake
from edge_node.serving.http1 import Head, unpacked
from edge_node.serving.metrics import CONTENT_TYPE, exposition
from edge_node.serving.outbox import Outbox
from edge_node.serving.service import MAX_BODY_BYTES, Busy, Forbidden, Service
from edge_node.serving.tensors import asked
from edge_node.serving.tls import Tls
from littoral.errors import BadInput, Conflict, FleetError, NotFound, TooLarge, Unavailable

HEADER_LENGTH = "inference-header-content-length"
MAX_CONNECTIONS = 512
PATIENCE_S = 10.0
BODY_S = 10.0
BACKLOG = 256
SWEEP_S = 1.0
LIVE = "/v2/health/live"
AGAIN = (("retry-after", "1"),)

STATUS: Mapping[type[FleetError], int] = {
    BadInput: 400,
    NoToken: 401,
    Forbidden: 403,
    NotFound: 404,
    TooSlow: 408,
    Conflict: 409,
    TooLarge: 413,
    Busy: 429,
    Unavailable: 503,
    RuntimeCrash: 503,
    RuntimeHang: 503,
    BadValues: 422,
}


class HttpServer:
    """Args:
    port: 0 takes any free one; `port` tells which.
    body_s: how long a body may take to come; seconds.
    max_connections: held at one time; more are closed as they come.
    access: what is asked of callers; None: nothing.
    tls: None: plain.
    """

    def __init__(
        self,
        service: Service,
        host: str,
        port: int,
        *,
        max_body_bytes: int = MAX_BODY_BYTES,
        body_s: float = BODY_S,
        max_connections: int = MAX_CONNECTIONS,
        access: Access | None = None,
        tls: Tls | None = None,
    ) -> None:
        self._service = service
        self._host = host
        self.port = port
        self._limits = Limits(head_s=body_s, body_s=body_s, body_bytes=max_body_bytes)
        self._max_connections = max_connections
        self._access = access or Access()
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._connections: set[Held] = set()
        self._emptied = asyncio.Event()
        self._sweeper: asyncio.TimerHandle | None = None
        self._answered = self._answered_before = 0
        self.holds = Outbox().holds

    async def start(self) -> None:
        """Returns once requests are taken. Raises Unavailable where the port is in use or may not be bound."""
        loop = asyncio.get_running_loop()
        listener = _listener(self._host, self.port)
        self.port = int(listener.getsockname()[1])
        context = self._tls.context() if self._tls else None

        def opened() -> asyncio.Protocol:
            if context is None:
                return Connection(self, self._limits, time.monotonic)
            return Handshake(self, self._limits, time.monotonic, context)

        self._server = await loop.create_server(opened, sock=listener, backlog=BACKLOG)
        self._sweep()
        give_back()  # what only the start needed

    async def stop(self) -> None:
        """Takes no new connection, ends those that are open once their requests are answered."""
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
        """ "" where requests are answered: one was since this was last asked, or one of our own is. Else what is wrong."""
        if self._answered == self._answered_before and (wrong := await answers(self._host, self.port, tls=self._tls is not None)):
            return wrong
        self._answered_before = self._answered
        return ""

    # -- what connections ask --------------------------------------------------------------------------------------

    def admit(self, connection: Held) -> bool:
        if len(self._connections) >= self._max_connections:
            return False
        self._connections.add(connection)
        self._emptied.clear()
        return True

    def gone(self, connection: Held) -> None:
        self._connections.discard(connection)
        self._check_emptied()

    def begin(self, head: Head) -> Callable[[], None] | None:
        """Looks at who asks. An inference takes one of the places before its body is read; its model must be there."""
        if head.path != LIVE:
            self._access.check(head.headers.get("authorization"))
        match head.parts if head.method == "POST" else ():
            case ["v2", "models", name, "infer"]:
                self._service.check_version(name)
            case ["v2", "models", name, "versions", version, "infer"]:
                self._service.check_version(name, version)
            case _:
                return None
        self._service.enter()
        return self._service.leave

    async def answer(self, head: Head, body: bytes) -> Reply:
        self._answered += 1
        try:
            return await self._routed(head, body)
        except FleetError as error:
            return self.refusal(error, head)
        except Exception as error:  # noqa: BLE001 - the boundary: a bug answers this request alone
            traceback.print_exc()
            return Reply(500, orjson.dumps({"error": f"internal: {type(error).__name__}", "hint": "the agent's log says more"}))

    def refusal(self, error: FleetError, head: Head | None) -> Reply:
        if head is not None and (model := _asked_of(head)) is not None:
            self._service.refused(model, error)
        status = next((status for kind, status in STATUS.items() if isinstance(error, kind)), 500)
        headers = {401: (("www-authenticate", "Bearer"),), 429: AGAIN, 503: AGAIN}.get(status, ())
        return Reply(status, orjson.dumps({"error": error.message, "hint": error.hint}), headers)

    # -- inside ----------------------------------------------------------------------------------------------------

    async def _routed(self, head: Head, body: bytes) -> Reply:
        service = self._service
        match "GET" if head.method == "HEAD" else head.method, head.parts:
            case "POST", ["v2", "models", name, "infer"]:
                return await self._infer(name, "", head, body)
            case "POST", ["v2", "models", name, "versions", version, "infer"]:
                return await self._infer(name, version, head, body)
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
                return _ok(service.index(ready=_only_ready(body)))
            case "POST", ["v2", "repository", "models", name, "load"]:
                self._access.check_repository()
                await service.repository.load(name)
                return _ok({})
            case "POST", ["v2", "repository", "models", name, "unload"]:
                self._access.check_repository()
                await service.repository.unload(name)
                return _ok({})
        raise NotFound(
            f"{head.method} {head.path[:80]}: there is nothing here", hint="this server speaks /v2 (Open Inference Protocol)"
        )

    async def _infer(self, name: str, version: str, head: Head, body: bytes) -> Reply:
        body = unpacked(body, head.headers.get("content-encoding"), self._limits.body_bytes)
        parsed, tail = _parsed(body, head.headers.get(HEADER_LENGTH))
        answer = await self._service.infer(name, asked(parsed, tail), version)
        encoded, length = answer.encode()
        if length is None:
            return Reply(200, encoded)
        return Reply(200, encoded, ((HEADER_LENGTH, str(length)),), "application/octet-stream")

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = time.monotonic()
        for connection in tuple(self._connections):
            connection.overdue(now)
        self._sweeper = loop.call_later(min(SWEEP_S, self._limits.body_s / 4), self._sweep)

    def _check_emptied(self) -> None:
        if not self._connections:
            self._emptied.set()


def _asked_of(head: Head) -> str | None:
    """The model that is asked for an inference; None: none is."""
    match head.parts if head.method == "POST" else ():
        case ["v2", "models", name, "infer"] | ["v2", "models", name, "versions", _, "infer"]:
            return name
    return None


def _ok(body: Any) -> Reply:
    return Reply(200, orjson.dumps(body))


def _only_ready(body: bytes) -> bool:
    """Of a request for the index. Raises BadInput."""
    parsed = _parsed(body, None)[0] if body.strip() else {}
    ready = parsed.get("ready", False) if isinstance(parsed, dict) else None
    if not isinstance(ready, bool):
        raise BadInput('body: must be empty, {} or {"ready": true}')
    return ready


def _parsed(body: bytes, head: str | None) -> tuple[Any, memoryview | None]:
    """The JSON, and what follows it where `head` says how long it is. Raises BadInput."""
    tail: memoryview | None = None
    if head is not None:
        if not (head.isascii() and head.isdigit() and int(head) <= len(body)):
            raise BadInput(f"{HEADER_LENGTH}: {head[:80]!r} is not the length of the JSON in a body of {len(body)} bytes")
        body, tail = body[: int(head)], memoryview(body)[int(head) :]
    try:
        return orjson.loads(body), tail
    except orjson.JSONDecodeError as error:
        raise BadInput(f"body: is not JSON: {error}") from error


def _listener(host: str, port: int) -> socket.socket:
    """Bound. Raises Unavailable."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise Unavailable(
            f"http: cannot listen on {host}:{port}: {error.strerror}", hint="choose another with --http HOST:PORT"
        ) from error
    return listener
