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
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from email.utils import formatdate
from typing import Any, TypeVar

import orjson

from littoral.errors import BadInput, Conflict, FleetError, NotFound, TooLarge, Unavailable
from littoral_node.machine.memory import give_back, trim
from littoral_node.runtimes.ended import BadValues, RuntimeCrash, RuntimeHang
from littoral_node.serving.access import Access, Misdirected, NoToken
from littoral_node.serving.http.connection import Connection, Held, Limits, Reply, TooSlow
from littoral_node.serving.http.handshake import Handshake
from littoral_node.serving.http.http1 import BadExpectation, Head, UnknownCoding, UnknownTransfer, head_of, unpacked
from littoral_node.serving.http.outbox import Outbox
from littoral_node.serving.large import large_json
from littoral_node.serving.metrics import CONTENT_TYPE, exposition
from littoral_node.serving.room import Room
from littoral_node.serving.service import MAX_BODY_BYTES, Busy, Forbidden, Service
from littoral_node.serving.tensors import asked
from littoral_node.serving.tls import Tls
from littoral_node.serving.turns import Turns
from littoral_node.serving.values import has_truths, kind_of, shown
from littoral_node.supervision.notify import answers

HEADER_LENGTH = "inference-header-content-length"
MAX_CONNECTIONS = 512
HEARD_OUT = 16
"""Connections whose request was refused and that still send: more are not read any more."""
PATIENCE_S = 10.0
BODY_S = 10.0
BACKLOG = 256
SWEEP_S = 1.0
LIVE_PARTS = ("v2", "health", "live")
T = TypeVar("T")
AGAIN = (("retry-after", "1"),)
INLINE_BYTES = 64 * 1024
"""A longer JSON, or a packed body that may be longer, is read in a thread, in short steps (large.py)."""


_READ, _ASKED = ("GET", "HEAD", "OPTIONS"), ("POST", "OPTIONS")


class BadMethod(FleetError):
    """A path is asked by a method that it does not know."""

    code = "bad-method"


STATUS: Mapping[type[FleetError], int] = {
    BadInput: 400,
    NoToken: 401,
    Forbidden: 403,
    NotFound: 404,
    BadMethod: 405,
    TooSlow: 408,
    Conflict: 409,
    TooLarge: 413,
    UnknownCoding: 415,
    BadExpectation: 417,
    Misdirected: 421,
    BadValues: 422,
    Busy: 429,
    UnknownTransfer: 501,
    Unavailable: 503,
    RuntimeCrash: 503,
    RuntimeHang: 503,
}
_WITH: Mapping[int, tuple[tuple[str, str], ...]] = {
    401: (("www-authenticate", "Bearer"),),
    415: (("accept-encoding", "gzip, deflate"),),
    429: AGAIN,
    503: AGAIN,
}


class HttpServer:
    """Args:
    port: 0 takes any free one; `port` tells which.
    body_s: how long a body may take to come; seconds.
    max_connections: held at one time; more are closed as they come.
    access: what is asked of callers; None: nothing.
    tls: None: plain.
    room: for bodies; shared with other listeners.
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
        room: Room | None = None,
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
        self._refused: set[Held] = set()  # and heard out
        self._emptied = asyncio.Event()
        self._sweeper: asyncio.TimerHandle | None = None
        self._answered = self._answered_before = 0
        self._reader: ThreadPoolExecutor | None = None
        self.holds = Outbox().holds
        self.later = Turns().later
        self.room = room or Room()
        self._tell_time()

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
        if self._reader is not None:
            self._reader.shutdown()
            self._reader = None
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
        self._refused.discard(connection)
        self._check_emptied()

    def hears_out(self, connection: Held) -> bool:
        if len(self._refused) >= HEARD_OUT:
            return False
        self._refused.add(connection)
        return True

    def begin(self, head: Head, *, known: bool) -> Callable[[], None] | None:
        """Looks at who asks. An inference takes one of the places before its body is read; its model must be there."""
        if not known:
            self._access.check_page(head.authority, head.headers)
            if head.parts != LIVE_PARTS:
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

    async def answer(self, head: Head, body: bytes | bytearray) -> Reply:
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
        status = next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)
        headers = _WITH.get(status, ())
        if status == 405 and head is not None:
            headers = (("allow", ", ".join(_methods(head.parts))),)
        return Reply(status, orjson.dumps({"error": error.message, "hint": error.hint}), headers)

    # -- inside ----------------------------------------------------------------------------------------------------

    async def _routed(self, head: Head, body: bytes | bytearray) -> Reply:
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
                _check_plain(body)
                await service.repository.load(name)
                return _ok({})
            case "POST", ["v2", "repository", "models", name, "unload"]:
                self._access.check_repository()
                _check_plain(body)
                await service.repository.unload(name)
                return _ok({})
        if methods := _methods(head.parts):
            if head.method == "OPTIONS":
                return Reply(200, b"", (("allow", ", ".join(methods)),))
            raise BadMethod(f"{head.method} {head.path[:80]}: is not asked so", hint=f"by {' or '.join(methods)}")
        raise NotFound(
            f"{head.method} {head.path[:80]}: there is nothing here", hint="this server speaks /v2 (Open Inference Protocol)"
        )

    async def _infer(self, name: str, version: str, head: Head, body: bytes | bytearray) -> Reply:
        if "content-encoding" in head.headers:
            return await self._packed(name, version, head, body)
        text, tail = _split(body, head.headers.get(HEADER_LENGTH))
        parsed = _json(text) if len(text) <= INLINE_BYTES else await self._beside(large_json, text)
        answer = await self._service.infer(name, asked(parsed, tail, truths=has_truths(text)), version)
        encoded, length = await self._beside(answer.encode) if answer.large else answer.encode()
        if length is None:
            return Reply(200, encoded)
        return Reply(200, encoded, ((HEADER_LENGTH, str(length)),), "application/octet-stream")

    async def _packed(self, name: str, version: str, head: Head, body: bytes | bytearray) -> Reply:
        headers = dict(head.headers)
        body = await self._unpacked(body, headers.pop("content-encoding"))
        held = self.room.hold(len(body), 0)
        try:
            return await self._infer(name, version, replace(head, headers=headers), body)
        finally:
            self.room.leave(held)

    async def _unpacked(self, body: bytes | bytearray, coding: str) -> bytes | bytearray:
        if len(body) <= INLINE_BYTES:
            with suppress(TooLarge):
                return unpacked(body, coding, min(INLINE_BYTES, self._limits.body_bytes))
        return await self._beside(unpacked, body, coding, self._limits.body_bytes)

    async def _beside(self, work: Callable[..., T], *given: Any) -> T:
        """In a thread, for all that takes long; one at a time, so that they share what is left with the loop and no more."""
        if self._reader is None:
            self._reader = ThreadPoolExecutor(1, thread_name_prefix="large requests")
        return await asyncio.get_running_loop().run_in_executor(self._reader, work, *given)

    def _sweep(self) -> None:
        self._sweeper = asyncio.get_running_loop().call_later(min(SWEEP_S, self._limits.body_s / 4), self._sweep)
        now = time.monotonic()
        for connection in tuple(self._connections):
            connection.overdue(now)
        self._tell_time()
        if self.room.has_emptied():
            trim()

    def _tell_time(self) -> None:
        self.date = formatdate(time.time(), usegmt=True)  # noqa: TID251 - it is said, nothing is decided by it
        headers = (("content-type", "application/json"), ("date", self.date))
        self.usual = head_of(200, 0, headers, keep_alive=True).removesuffix(b"0\r\n\r\n")

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


def _methods(parts: tuple[str, ...]) -> tuple[str, ...]:
    """That a path may be asked by; none: there is no such path."""
    match parts:
        case ["v2"] | ["v2", "health", "live" | "ready"] | ["metrics"] | ["v2", "models", _] | ["v2", "models", _, "ready"]:
            return _READ
        case ["v2", "models", _, "versions", _] | ["v2", "models", _, "versions", _, "ready"]:
            return _READ
        case ["v2", "models", _, "infer"] | ["v2", "models", _, "versions", _, "infer"] | ["v2", "repository", "index"]:
            return _ASKED
        case ["v2", "repository", "models", _, "load" | "unload"]:
            return _ASKED
        case ["*"]:
            return ("GET", "HEAD", "POST", "OPTIONS")
    return ()


def _only_ready(body: bytes | bytearray) -> bool:
    """Of a request for the index. Raises BadInput."""
    ready = _small_object(body).get("ready", False)
    if not isinstance(ready, bool):
        raise BadInput('body: must be empty, {} or {"ready": true}')
    return ready


def _check_plain(body: bytes | bytearray) -> None:
    """Of a request to load or unload. Raises BadInput where it asks for what is not done."""
    parameters = _small_object(body).get("parameters") or {}
    if not isinstance(parameters, dict) or not set(parameters) <= {"unload_dependents"}:
        raise BadInput(
            f"parameters: {shown(parameters)} are not taken", hint="a model is loaded as its release says, or not at all"
        )


def _small_object(body: bytes | bytearray) -> Mapping[str, Any]:
    if len(body) > INLINE_BYTES:
        raise TooLarge(f"body: {len(body)} bytes, at most {INLINE_BYTES} are taken here")
    parsed = _json(body) if body.strip() else {}
    if not isinstance(parsed, dict):
        raise BadInput(f"body: must be empty or a JSON object, is {kind_of(parsed)}")
    return parsed


def _split(body: bytes | bytearray, head: str | None) -> tuple[bytes | bytearray, memoryview | None]:
    """The JSON, and what follows it where `head` says how long it is. Raises BadInput."""
    if head is None:
        return body, None
    if not (head.isascii() and head.isdigit() and len(head) <= 15 and int(head) <= len(body)):
        raise BadInput(f"{HEADER_LENGTH}: {head[:80]!r} is not the length of the JSON in a body of {len(body)} bytes")
    return body[: int(head)], memoryview(body)[int(head) :]


def _json(text: bytes | bytearray) -> Any:
    """Raises BadInput."""
    try:
        return orjson.loads(text)
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
