"""Open Inference Protocol v2 over REST, on granian's embedded server in the agent's own event loop.

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
"""

from __future__ import annotations

import asyncio
import socket
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from edge_node.memory import give_back
from edge_node.notify import answers
from edge_node.runtimes.ended import RuntimeCrash, RuntimeHang
from edge_node.serving.metrics import CONTENT_TYPE, exposition
from edge_node.serving.service import MAX_BODY_BYTES, Busy, Forbidden, Service
from littoral.errors import BadInput, Conflict, FleetError, NotFound, TooLarge, Unavailable

HEADER_LENGTH = "inference-header-content-length"
PATIENCE_S = 10.0
BODY_S = 10.0
_ATTEMPTS = 3


class TooSlow(FleetError):
    """A request's body does not come: it would hold one of the places for ever."""

    code = "too-slow"
    retryable = True


STATUS: Mapping[type[FleetError], int] = {
    BadInput: 400,
    Forbidden: 403,
    NotFound: 404,
    TooSlow: 408,
    Conflict: 409,
    TooLarge: 413,
    Busy: 429,
    Unavailable: 503,
    RuntimeCrash: 503,
    RuntimeHang: 503,
}


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "application/json"


class HttpServer:
    """Args:
    port: 0 takes any free one; `port` tells which.
    body_s: how long a body may take to come; seconds.
    """

    def __init__(
        self,
        service: Service,
        host: str,
        port: int,
        *,
        max_body_bytes: int = MAX_BODY_BYTES,
        body_s: float = BODY_S,
    ) -> None:
        self._service = service
        self._host = host
        self.port = port
        self._server: Any = None
        self._serving: asyncio.Task[None] | None = None
        self._answered = self._answered_before = 0
        self._max_body_bytes, self._body_s = max_body_bytes, body_s

    async def start(self) -> None:
        """Returns once requests are taken. Raises Unavailable where the port is in use or may not be bound."""
        wanted = self.port
        for attempt in range(_ATTEMPTS):
            self.port = _free_port(self._host, wanted)
            self._server = self._new_server()
            self._serving = asyncio.create_task(self._server.serve(), name="http server")
            if await self._answering():
                give_back()  # what only the start needed
                return
            await self.stop()
            if wanted or attempt + 1 == _ATTEMPTS:
                break  # a port that was asked for was taken between two looks at it
        raise Unavailable(f"http: cannot listen on {self._host}:{self.port}", hint="choose another with --http HOST:PORT")

    async def stop(self) -> None:
        """Takes no new connection, ends those that are open once their requests are answered."""
        if self._server is not None and self._serving is not None:
            self._server.stop()
            await asyncio.wait({self._serving}, timeout=PATIENCE_S)
            self._serving.cancel()
            await asyncio.gather(self._serving, return_exceptions=True)
            self._server = self._serving = None

    async def alive(self) -> str:
        """ "" where requests are answered: one was since this was last asked, or one of our own is. Else what is wrong."""
        if self._answered == self._answered_before and (wrong := await answers(self._host, self.port)):
            return wrong
        self._answered_before = self._answered
        return ""

    def _new_server(self) -> Any:
        from granian.constants import HTTPModes, Interfaces
        from granian.server.embed import Server

        return Server(
            self._app,
            address=self._host,
            port=self.port,
            interface=Interfaces.RSGI,
            http=HTTPModes.http1,
            websockets=False,
            log_enabled=False,
            blocking_threads=1,
            backlog=1024,
            backpressure=self._service.max_in_flight * 4,
        )

    async def _answering(self) -> bool:
        """granian does not say when it listens: its port is tried until it answers. False where the server ended instead."""
        assert self._serving is not None
        deadline = asyncio.get_running_loop().time() + PATIENCE_S
        while not self._serving.done() and asyncio.get_running_loop().time() < deadline:
            try:
                _, writer = await asyncio.open_connection(self._host, self.port)
            except OSError:
                await asyncio.sleep(0.01)
                continue
            writer.close()
            await writer.wait_closed()
            return True
        return False

    async def _app(self, scope: Any, protocol: Any) -> None:
        reply = await self._reply(scope, protocol)
        self._answered += 1
        protocol.response_bytes(reply.status, [("content-type", reply.content_type), *reply.headers], reply.body)

    async def _reply(self, scope: Any, protocol: Any) -> Reply:
        try:
            return await self._routed(scope, protocol)
        except FleetError as error:
            status = next((status for kind, status in STATUS.items() if isinstance(error, kind)), 500)
            headers = (("retry-after", "1"),) if status in (429, 503) else ()
            return Reply(status, orjson.dumps({"error": error.message, "hint": error.hint}), headers)
        except Exception as error:  # noqa: BLE001 - the boundary: a bug answers this request alone
            traceback.print_exc()
            return Reply(500, orjson.dumps({"error": f"internal: {type(error).__name__}", "hint": "the agent's log says more"}))

    async def _routed(self, scope: Any, protocol: Any) -> Reply:
        service = self._service
        match scope.method, scope.path.strip("/").split("/"):
            case "POST", ["v2", "models", name, "infer"]:
                return await self._infer(name, "", scope, protocol)
            case "POST", ["v2", "models", name, "versions", version, "infer"]:
                return await self._infer(name, version, scope, protocol)
            case "GET", ["v2"]:
                return _ok(service.about())
            case "GET", ["v2", "health", "live"]:
                return _ok({"live": True})
            case "GET", ["v2", "health", "ready"]:
                ready = service.ready()
                return Reply(200 if ready else 503, orjson.dumps({"ready": ready, "models": service.slots.names()}))
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
                return _ok(service.index(ready=_only_ready(await self._body(scope, protocol))))
            case "POST", ["v2", "repository", "models", name, "load"]:
                await service.repository.load(name)
                return _ok({})
            case "POST", ["v2", "repository", "models", name, "unload"]:
                await service.repository.unload(name)
                return _ok({})
        raise NotFound(
            f"{scope.method} {scope.path[:80]}: there is nothing here", hint="this server speaks /v2 (Open Inference Protocol)"
        )

    async def _infer(self, name: str, version: str, scope: Any, protocol: Any) -> Reply:
        self._service.check_version(name, version)  # before anything is read
        with self._service.place():
            body, tail = _parsed(await self._body(scope, protocol), scope.headers.get(HEADER_LENGTH))
            answer = await self._service.infer(name, body, tail, version)
            encoded, head = answer.encode()
            if head is None:
                return Reply(200, encoded)
            return Reply(200, encoded, ((HEADER_LENGTH, str(head)),), "application/octet-stream")

    async def _body(self, scope: Any, protocol: Any) -> bytes:
        """Raises TooLarge before more than the limit was kept, TooSlow."""
        most = self._max_body_bytes
        declared = scope.headers.get("content-length")
        try:
            async with asyncio.timeout(self._body_s):
                if declared is not None and declared.isdigit():
                    if int(declared) > most:
                        raise TooLarge(f"body: {declared} bytes, at most {most} are taken", hint="send a smaller batch")
                    whole: bytes = await protocol()
                    return whole
                parts, size = [], 0
                async for part in protocol:
                    size += len(part)
                    if size > most:
                        raise TooLarge(f"body: over {most} bytes", hint="send a smaller batch")
                    parts.append(part)
                return b"".join(parts)
        except TimeoutError as error:
            raise TooSlow(f"body: did not come in {self._body_s:g} s") from error


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


def _free_port(host: str, port: int) -> int:
    """The port, bound once to see that it can be; granian's own failure would be a backtrace."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise Unavailable(
                f"http: cannot listen on {host}:{port}: {error.strerror}", hint="choose another with --http HOST:PORT"
            ) from error
        return int(probe.getsockname()[1])
