"""Where the operator API listens: a socket in the data folder for this machine's own user, a port with TLS for everybody else."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import struct
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from littoral_cloud.api.rest.access import USER
from littoral_cloud.api.server import TlsIdentity, check_free

STOP_S = 3
_UCRED = struct.Struct("3i")


class _SocketProtocol(H11Protocol):
    """Of a connection over a Unix socket: the client's host is "uid:" and the number of the user at the other end."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        peer = transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        _, user, _ = _UCRED.unpack(peer)
        self.client = (f"{USER}{user}", 0)


class _ApiServer(uvicorn.Server):
    """Signals are the process's own."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listens = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listens.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class ApiListener:
    """One place where the application answers. Serving when `socket_api` or `tls_api` gives it."""

    def __init__(self, port: int, context: ssl.SSLContext | None) -> None:
        self.name = "api"
        self.port = port
        self._context = context

    async def renew(self, identity: TlsIdentity) -> None:
        """Shows new connections another certificate; those that are open go on."""
        if self._context is not None:
            _load(self._context, identity)


@asynccontextmanager
async def socket_api(app: Any, path: Path) -> AsyncIterator[ApiListener]:
    """Serves on a Unix socket that only our own user can open."""
    path.unlink(missing_ok=True)  # of one that was killed
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listening.bind(str(path))
    finally:
        os.umask(mask)
    try:
        async with _served(app, listening, None, protocol=_SocketProtocol):
            yield ApiListener(0, None)
    finally:
        listening.close()
        path.unlink(missing_ok=True)


@asynccontextmanager
async def tls_api(app: Any, host: str, port: int, identity: TlsIdentity) -> AsyncIterator[ApiListener]:
    """Serves on a port with TLS. `port` 0: any free one. Raises Unavailable, BadInput as the other listeners."""
    check_free("api", host, port)
    listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=1024)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load(context, identity)
    try:
        async with _served(app, listening, context):
            yield ApiListener(listening.getsockname()[1], context)
    finally:
        listening.close()


@asynccontextmanager
async def _served(
    app: Any, listening: socket.socket, context: ssl.SSLContext | None, protocol: Any = H11Protocol
) -> AsyncIterator[None]:
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="warning",  # else three lines at each start, of this socket and of that port
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=STOP_S,
    )
    config.load()
    config.ssl = context
    server = _ApiServer(config)
    task = asyncio.create_task(server.serve(sockets=[listening]), name="api")
    started = asyncio.create_task(server.listens.wait())
    await asyncio.wait({task, started}, return_when=asyncio.FIRST_COMPLETED)
    started.cancel()
    try:
        if task.done():
            await task
        yield
    finally:
        server.should_exit = True
        with suppress(asyncio.CancelledError):
            await task


def _load(context: ssl.SSLContext, identity: TlsIdentity) -> None:
    """Python reads keys from files alone: this one is in memory where the system has such a folder, and is removed at once."""
    folder = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108
    with tempfile.NamedTemporaryFile(dir=folder) as file:  # 0600
        file.write(identity.key + b"\n" + identity.certificate_chain)
        file.flush()
        context.load_cert_chain(file.name)
