"""Where a node answers requests: REST and gRPC, started and ended together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from littoral.errors import Unavailable
from littoral.transport import is_loopback, join_address
from littoral_node.config.settings import NodeSettings
from littoral_node.identity.files import Damaged, ignore_damage
from littoral_node.serving.access import access_of
from littoral_node.serving.body_memory import BodyMemory
from littoral_node.serving.grpc_server import GrpcServer
from littoral_node.serving.listen_options import ListenOptions
from littoral_node.serving.rest import HttpServer
from littoral_node.serving.service import Service
from littoral_node.serving.tls import tls_of


class Front:
    """Args:
    service: what both ask.
    folder: the node's, for a certificate that it makes for itself.
    now: seconds since 1970-01-01 UTC.

    Raises BadInput, naming the setting, where a listener could be reached from elsewhere and has no token, or wrong TLS files.
    """

    def __init__(
        self,
        service: Service,
        settings: NodeSettings,
        folder: Path,
        log: Callable[..., None],
        *,
        now: float,
        damaged: Damaged = ignore_damage,
    ) -> None:
        self._service, self._settings, self._log = service, settings, log
        hosts = {"http": settings.http_host, **({"grpc": settings.grpc[0]} if settings.grpc is not None else {})}
        access = {
            name: access_of(host, f"--{name} {host}", settings.token_file, allow_load=settings.allow_load)
            for name, host in hosts.items()
        }
        elsewhere = tuple(host for host in hosts.values() if not is_loopback(host))
        self._tls = tls_of(folder, elsewhere, settings.tls, now=now, damaged=damaged) if elsewhere else None
        memory = BodyMemory()
        self._options = {
            name: ListenOptions(access[name], None if is_loopback(host) else self._tls, memory) for name, host in hosts.items()
        }
        self._http = HttpServer(service, settings.http_host, settings.http_port, self._options["http"])
        self._grpc: GrpcServer | None = None

    async def start(self) -> dict[str, str]:
        """Where requests are taken, by protocol, once they are. Raises Unavailable where a port is in use or may not be bound."""
        await self._http.start()
        addresses = {"http": join_address(self._settings.http_host, self._http.port)}
        try:
            if self._settings.grpc is not None:
                host, port = self._settings.grpc
                self._grpc = await self._grpc_on(host, port)
                addresses["grpc"] = join_address(host, self._grpc.port)
            if self._tls is not None:
                addresses["certificate_sha256"] = self._tls.fingerprint
        except BaseException:
            await self.stop()
            raise
        return addresses

    async def alive(self) -> str:
        """ "" where requests are answered; else what is wrong."""
        return await self._http.alive()

    async def stop(self) -> None:
        """Takes nothing new, and answers what is under way."""
        if self._grpc is not None:
            await self._grpc.stop()
        await self._http.stop()
        self._service.close()

    async def _grpc_on(self, host: str, port: int) -> GrpcServer:
        server = GrpcServer(self._service, host, port, self._options["grpc"])
        try:
            await server.start()
        except Unavailable as error:
            if self._settings.grpc_is_set:
                raise
            self._log("grpc-elsewhere", detail=f"{error.message}: it is the default, so another free port is used")
            server = GrpcServer(self._service, host, 0, self._options["grpc"])
            await server.start()
        return server
