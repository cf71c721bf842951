"""The two listeners: enrolment under server TLS, the fleet under mutual TLS. One cannot be both (see docs/decisions).

A listener's certificate is fixed when it opens. gRPC can ask for one at each handshake, but it then frees a configuration that
handshakes on other threads still use: a handful of them ended the process. A new certificate therefore gets a new server on the
same port, and the old server lives until its streams have ended (see docs/decisions/0020).
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio

from littoral.errors import BadInput, FleetError, Unavailable
from littoral.transport import SERVER_OPTIONS, join_address, try_to_listen
from littoral_cloud.api.access import CheckedRegistration
from littoral_cloud.api.errors import CallInterceptor
from littoral_cloud.api.node_calls import NodeCalls
from littoral_cloud.counting.durations import LabelledDurations

log = logging.getLogger(__name__)

Register = Callable[[Any], None]
"""Adds servicers to a grpc.aio server."""

OLD_SERVER_S = 30 * 24 * 3600.0
"""Streams that began under an old certificate are ended after this long; a node's come back at once."""

_REBIND_S = 0.05
_LOOKS_LOGGED = 200


@dataclass(frozen=True, slots=True)
class TlsIdentity:
    """PEM. `client_authority` None: no certificate is asked of a caller."""

    key: bytes
    certificate_chain: bytes
    client_authority: bytes | None = None

    def credentials(self) -> Any:
        asks = self.client_authority is not None
        return grpc.ssl_server_credentials([(self.key, self.certificate_chain)], self.client_authority, asks)


class Listener:
    """One port, and the gRPC server that answers there; see `start`."""

    def __init__(
        self,
        name: str,
        host: str,
        register: Register,
        most: int | None = None,
        calls: LabelledDurations | None = None,
        nodes: NodeCalls | None = None,
    ) -> None:
        self.name = name
        self.port = 0
        self._host = host
        self._register = register
        self._interceptor = CallInterceptor(calls if calls is not None else LabelledDurations(), nodes)
        self._options = (*SERVER_OPTIONS, *((("grpc.max_allowed_incoming_connections", most),) if most is not None else ()))
        self._server: grpc.aio.Server | None = None
        self._old: dict[grpc.aio.Server, asyncio.Task[None]] = {}  # servers of former certificates, and their ends

    @property
    def address(self) -> str:
        return join_address(self._host, self.port)

    @classmethod
    async def start(
        cls,
        name: str,
        host: str,
        port: int,
        identity: TlsIdentity,
        register: Register,
        *,
        most: int | None = None,
        calls: LabelledDurations | None = None,
        nodes: NodeCalls | None = None,
    ) -> Listener:
        """Serving when this returns.

        Args:
            name: "enrolment" or "fleet"; the setting of the port is NAME_port.
            port: 0 takes any free one; see `address`.
            most: connections at one time; more are closed as they come. None: any number.
            calls: how long each call took, by method and status; None: it is not asked for.
            nodes: knows who is accepted; None: no RPC of this listener is for accepted nodes alone.

        Raises:
            Unavailable: the port is in use. BadInput: the host or port cannot be bound at all.
        """
        listener = cls(name, host, register, most, calls, nodes)
        await listener._open(port, identity)
        return listener

    async def renew(self, identity: TlsIdentity) -> None:
        """Shows new connections another certificate. Streams that are open go on. Returns when the port answers again.

        For a moment the port is closed: a node that connects then is refused and tries again.
        """
        if self._server is not None:
            self._old[self._server] = asyncio.create_task(self._retire(self._server), name=f"old {self.name} listener")
            self._server = None
        looks = 0
        while True:
            try:
                return await self._open(self.port, identity)
            except FleetError as error:  # the old server lets go of the port a moment later; or somebody else took it
                looks += 1
                if looks % _LOOKS_LOGGED == 0:
                    log.error("%s listener: does not listen, and tries again: %s", self.name, error)
                await asyncio.sleep(_REBIND_S)

    async def stop(self, grace_s: float) -> None:
        """Takes nothing new; what is open has `grace_s` to end."""
        servers = [*self._old, *filter(None, (self._server,))]
        await asyncio.gather(*(server.stop(grace_s) for server in servers))
        await asyncio.gather(*self._old.values())

    async def _open(self, port: int, identity: TlsIdentity) -> None:
        check_free(self.name, self._host, port)
        server = grpc.aio.server(interceptors=(self._interceptor,), options=self._options)
        self._register(CheckedRegistration(server))
        try:
            bound = server.add_secure_port(join_address(self._host, port), identity.credentials())
        except RuntimeError:
            bound = 0
        if not bound:
            raise _in_use(self.name, self._host, port)  # somebody took it since we looked
        await server.start()
        self._server, self.port = server, bound

    async def _retire(self, server: grpc.aio.Server) -> None:
        await server.stop(OLD_SERVER_S)
        self._old.pop(server, None)


def check_free(name: str, host: str, port: int) -> None:
    """Raises Unavailable, BadInput."""
    flag = f"--{name}-port"
    try:
        try_to_listen(host, port)
    except socket.gaierror as error:
        raise BadInput(
            f"host: {host!r} is no address of this machine: {error.strerror}", hint="give --host or set LITTORAL_HOST"
        ) from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise _in_use(name, host, port) from error
        if error.errno == errno.EACCES:
            raise BadInput(f"{name}_port: {port} needs privileges: {error.strerror}", hint=f"give {flag} from 1024") from error
        raise BadInput(f"host: {host!r} cannot be bound: {error.strerror}", hint="give --host or set LITTORAL_HOST") from error


def _in_use(name: str, host: str, port: int) -> Unavailable:
    return Unavailable(
        f"{name}_port: {port} on {host} is in use",
        hint=f"end what listens there, give --{name}-port, or set LITTORAL_{name.upper()}_PORT (0: any free port)",
    )
