"""Open Inference Protocol v2 over REST, on granian's embedded server in the agent's own event loop.

    GET  /v2                                    this server
    GET  /v2/health/live, /v2/health/ready      200, or 503 while nothing is served
    GET  /v2/models/NAME[/versions/DIGEST]      metadata
    GET  /v2/models/NAME[/versions/DIGEST]/ready
    POST /v2/models/NAME[/versions/DIGEST]/infer

Errors are {"error": words, "hint": words}.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from edge_node.serving.inference import Inference, metadata
from edge_node.serving.slots import Slots
from edge_node.telemetry import Telemetry
from littoral import __version__
from littoral.errors import BadInput, FleetError, NotFound, TooLarge, Unavailable

MAX_BODY_BYTES = 8 * 1024 * 1024
MAX_IN_FLIGHT = 256
START_S = 10.0


class Busy(FleetError):
    """More requests are in flight than this node takes."""

    code = "busy"
    retryable = True


STATUS: Mapping[type[FleetError], int] = {BadInput: 400, NotFound: 404, TooLarge: 413, Busy: 429, Unavailable: 503}
_JSON = [("content-type", "application/json")]
_DUMP = orjson.OPT_SERIALIZE_NUMPY


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


class HttpServer:
    """Args:
    port: 0 takes any free one; `port` tells which.
    """

    def __init__(self, slots: Slots, telemetry: Telemetry, host: str, port: int) -> None:
        self._slots = slots
        self._inference = Inference(slots, telemetry)
        self._host = host
        self.port = port
        self._server: Any = None
        self._serving: asyncio.Task[None] | None = None
        self._in_flight = 0

    async def start(self) -> None:
        """Returns once requests are taken. Raises Unavailable where the port is in use or may not be bound."""
        from granian.constants import HTTPModes, Interfaces
        from granian.server.embed import Server

        self.port = _free_port(self._host, self.port)
        self._server = Server(
            self._app,
            address=self._host,
            port=self.port,
            interface=Interfaces.RSGI,
            http=HTTPModes.http1,
            websockets=False,
            log_enabled=False,
            blocking_threads=1,
            backlog=1024,
            backpressure=MAX_IN_FLIGHT * 4,
        )
        self._serving = asyncio.create_task(self._server.serve(), name="http server")
        await self._answering()

    async def stop(self) -> None:
        """Takes no new connection, ends those that are open once their requests are answered."""
        if self._server is not None and self._serving is not None:
            self._server.stop()
            await asyncio.wait({self._serving}, timeout=START_S)
            self._serving.cancel()
            await asyncio.gather(self._serving, return_exceptions=True)
            self._server = self._serving = None

    async def _answering(self) -> None:
        """granian does not say when it listens: its port is tried until it answers."""
        assert self._serving is not None
        async with asyncio.timeout(START_S):
            while not self._serving.done():
                try:
                    _, writer = await asyncio.open_connection(self._host, self.port)
                except OSError:
                    await asyncio.sleep(0.01)
                    continue
                writer.close()
                await writer.wait_closed()
                return
        raise Unavailable(f"http: the server on {self._host}:{self.port} ended while starting", hint="try another --http port")

    async def _app(self, scope: Any, protocol: Any) -> None:
        reply = await self._reply(scope, protocol)
        protocol.response_bytes(reply.status, [*_JSON, *reply.headers], reply.body)

    async def _reply(self, scope: Any, protocol: Any) -> Reply:
        try:
            return await self._routed(scope, protocol)
        except FleetError as error:
            status = next((status for kind, status in STATUS.items() if isinstance(error, kind)), 500)
            headers = (("retry-after", "1"),) if status in (429, 503) else ()
            return Reply(status, orjson.dumps({"error": error.message, "hint": error.hint}), headers)

    async def _routed(self, scope: Any, protocol: Any) -> Reply:
        match scope.method, scope.path.strip("/").split("/"):
            case "GET", ["v2"]:
                return _ok({"name": "littoral-node", "version": __version__, "extensions": []})
            case "GET", ["v2", "health", "live"]:
                return _ok({"live": True})
            case "GET", ["v2", "health", "ready"]:
                ready = bool(self._slots.names())
                return Reply(200 if ready else 503, orjson.dumps({"ready": ready, "models": self._slots.names()}))
            case "GET", ["v2", "models", name] | ["v2", "models", name, "versions", _] as path:
                self._check_version(name, path)
                with self._slots.lease(name) as served:
                    return _ok(metadata(name, served))
            case "GET", ["v2", "models", name, "ready"] | ["v2", "models", name, "versions", _, "ready"] as path:
                self._check_version(name, path)
                return _ok({"name": name, "ready": True})
            case "POST", ["v2", "models", name, "infer"] | ["v2", "models", name, "versions", _, "infer"] as path:
                self._check_version(name, path)
                return await self._infer(name, scope, protocol)
        raise NotFound(
            f"{scope.method} {scope.path[:80]}: there is nothing here", hint="this server speaks /v2 (Open Inference Protocol)"
        )

    def _check_version(self, name: str, path: list[str]) -> None:
        """Raises NotFound where the model, or the version that the path names, is not served."""
        served = self._slots.get(name)
        if served is None:
            raise NotFound(
                f"model: {name[:80]!r} is not served here", hint=f"served are {', '.join(self._slots.names()) or 'none'}"
            )
        if len(path) > 4 and path[3] == "versions" and path[4] != served.manifest_digest:
            raise NotFound(f"version: {path[4][:80]!r} of {name} is not served", hint=f"served is {served.manifest_digest}")

    async def _infer(self, name: str, scope: Any, protocol: Any) -> Reply:
        if self._in_flight >= MAX_IN_FLIGHT:
            raise Busy(f"{self._in_flight} requests are in flight, as many as are taken", hint="try again in a second")
        self._in_flight += 1
        try:
            body = _parsed(await _body(scope, protocol))
            return _ok(await self._inference.answer(name, body))
        finally:
            self._in_flight -= 1


def _ok(body: Any) -> Reply:
    return Reply(200, orjson.dumps(body, option=_DUMP))


async def _body(scope: Any, protocol: Any) -> bytes:
    """Raises TooLarge before more than the limit was kept."""
    declared = scope.headers.get("content-length")
    if declared is not None and declared.isdigit() and int(declared) > MAX_BODY_BYTES:
        raise TooLarge(f"body: {declared} bytes, at most {MAX_BODY_BYTES} are taken", hint="send a smaller batch")
    if declared is not None and declared.isdigit():
        whole: bytes = await protocol()
        return whole
    parts, size = [], 0
    async for part in protocol:
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise TooLarge(f"body: over {MAX_BODY_BYTES} bytes", hint="send a smaller batch")
        parts.append(part)
    return b"".join(parts)


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
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
