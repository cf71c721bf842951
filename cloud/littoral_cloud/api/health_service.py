"""grpc.health.v1 (https://github.com/grpc/grpc/blob/master/doc/health-checking.md) on both gRPC listeners: SERVING while this
coordinator is ready, for the empty name and for each service of the listener.

Not grpc_health's own servicer: there the end of one Watch makes all others of the same name deaf. `Watch` ends when the
coordinator ends, since an open stream holds up a server that stops.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from littoral.errors import NotFound, Unavailable

MOST_WATCHERS = 100
"""At one time, on one listener: enrolment has callers that prove nothing."""

SERVICE = "grpc.health.v1.Health"


class ReadinessSource(Protocol):
    """Whether this coordinator may be sent work."""

    @property
    def ready(self) -> bool: ...
    @property
    def draining(self) -> bool:
        """It ends, and will not be ready again."""
        ...

    @property
    def version(self) -> int:
        """Grows with each change."""
        ...

    async def later_than(self, version: int) -> None:
        """Returns when the version is another."""
        ...


class HealthServicer(health_pb2_grpc.HealthServicer):
    """Args:
    services: full names of those that this listener has.
    """

    def __init__(self, ready: ReadinessSource, services: Iterable[str]) -> None:
        self._ready = ready
        self._services = frozenset(("", SERVICE, *services))
        self._watchers = 0

    async def Check(
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> health_pb2.HealthCheckResponse:
        if request.service not in self._services:
            raise NotFound(f"service: {request.service[:100]!r} is not on this listener", hint="ask for the empty name")
        return health_pb2.HealthCheckResponse(status=self._status(request.service))

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        if self._watchers >= MOST_WATCHERS:
            raise Unavailable(f"health: {MOST_WATCHERS} callers watch already", hint="call Check instead")
        self._watchers += 1
        try:
            last = None
            while True:
                version, draining = self._ready.version, self._ready.draining
                if (status := self._status(request.service)) != last:
                    await context.write(health_pb2.HealthCheckResponse(status=status))
                    last = status
                if draining:
                    return
                await self._ready.later_than(version)
        finally:
            self._watchers -= 1

    def _status(self, service: str) -> Any:
        response = health_pb2.HealthCheckResponse
        if service not in self._services:
            return response.SERVICE_UNKNOWN
        return response.SERVING if self._ready.ready else response.NOT_SERVING


def add_health(ready: ReadinessSource, server: Any, *modules: Any) -> None:
    """To a listener's grpc.aio server.

    Args:
        modules: generated ones; the listener has their services.
    """
    services = (service.full_name for module in modules for service in module.DESCRIPTOR.services_by_name.values())
    add: Any = health_pb2_grpc.add_HealthServicer_to_server  # generated without types
    add(HealthServicer(ready, services), server)
