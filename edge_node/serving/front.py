"""Where a node answers requests: REST and gRPC, started and ended together."""

from __future__ import annotations

from collections.abc import Callable

from edge_node.serving.grpc_server import GrpcServer
from edge_node.serving.http import HttpServer
from edge_node.serving.service import Service
from edge_node.settings import Settings
from littoral.errors import Unavailable


class Front:
    """Args:
    service: what both ask.
    """

    def __init__(self, service: Service, settings: Settings, log: Callable[..., None]) -> None:
        self._service = service
        self._settings = settings
        self._log = log
        self._http = HttpServer(service, settings.http_host, settings.http_port)
        self._grpc: GrpcServer | None = None

    async def start(self) -> dict[str, str]:
        """Where requests are taken, by protocol, once they are. Raises Unavailable where a port is in use or may not be bound."""
        await self._http.start()
        addresses = {"http": f"{self._settings.http_host}:{self._http.port}"}
        try:
            if self._settings.grpc is not None:
                host, port = self._settings.grpc
                self._grpc = await self._grpc_on(host, port)
                addresses["grpc"] = f"{host}:{self._grpc.port}"
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
        server = GrpcServer(self._service, host, port)
        try:
            await server.start()
        except Unavailable as error:
            if self._settings.grpc_told:
                raise
            self._log("grpc-elsewhere", detail=f"{error.message}: nobody asked for it, so any free port is taken")
            server = GrpcServer(self._service, host, 0)
            await server.start()
        return server
