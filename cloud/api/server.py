"""The two listeners: enrolment under server TLS, the fleet under mutual TLS. One cannot be both (see docs/decisions)."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio

from cloud.api.errors import ErrorInterceptor
from littoral.errors import BadInput, Unavailable
from littoral.transport import SERVER_OPTIONS, join_address, try_to_listen

Register = Callable[[Any], None]
"""Adds servicers to a grpc.aio server."""


@dataclass(frozen=True, slots=True)
class TlsIdentity:
    """PEM. `client_authority` None: no certificate is asked of a caller."""

    key: bytes
    certificate_chain: bytes
    client_authority: bytes | None = None

    def configuration(self) -> Any:
        return grpc.ssl_server_certificate_configuration([(self.key, self.certificate_chain)], self.client_authority)


class Credentials:
    """What new connections are shown: may be replaced while the server runs, before a certificate expires."""

    def __init__(self, identity: TlsIdentity) -> None:
        self._configuration = identity.configuration()
        self.grpc = grpc.dynamic_ssl_server_credentials(
            self._configuration, self._current, require_client_authentication=identity.client_authority is not None
        )

    def replace(self, identity: TlsIdentity) -> None:
        self._configuration = identity.configuration()

    def _current(self) -> Any:
        return self._configuration  # on a thread of gRPC's, at each handshake: whatever it did beyond this could fail silently


class Listener:
    """One gRPC server on one port."""

    def __init__(self, name: str, server: grpc.aio.Server, host: str, port: int) -> None:
        self.name = name
        self.port = port
        self.address = join_address(host, port)
        self._server = server

    @classmethod
    async def start(cls, name: str, host: str, port: int, credentials: Credentials, register: Register) -> Listener:
        """Serving when this returns.

        Args:
            name: "enrolment" or "fleet"; the setting of the port is NAME_port.
            port: 0 takes any free one; see `address`.

        Raises:
            Unavailable: the port is in use. BadInput: the host or port cannot be bound at all.
        """
        check_free(name, host, port)
        server = grpc.aio.server(interceptors=(ErrorInterceptor(),), options=SERVER_OPTIONS)
        register(server)
        try:
            bound = server.add_secure_port(join_address(host, port), credentials.grpc)
        except RuntimeError:
            bound = 0
        if not bound:
            raise _in_use(name, host, port)  # somebody took it since we looked
        await server.start()
        return cls(name, server, host, bound)

    async def stop(self, grace_s: float) -> None:
        """Takes nothing new; what is open has `grace_s` to end."""
        await self._server.stop(grace_s)


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
