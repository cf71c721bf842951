"""Use cases of the coordinator itself: what it tells of how it is."""

from __future__ import annotations

from littoral.errors import Unavailable
from littoral_cloud.commands.use_case import Office, use_case
from littoral_cloud.health.health import CoordinatorHealth, HealthAnswer
from littoral_cloud.trust.people import Caller, Denied, Role


@use_case("coordinator.metrics", Role.VIEWER)
async def metrics(office: Office, caller: Caller) -> HealthAnswer:
    """Its metrics, for Prometheus. They are of the whole fleet, so a token for a part of it does not read them."""
    if not caller.scope.everywhere:
        raise Denied(f"metrics: {caller.name} sees a part of the fleet: {caller.scope}", hint="use a token without a scope")
    return await running(office).metrics()


def running(office: Office) -> CoordinatorHealth:
    """Raises Unavailable where this process serves no fleet: a command alone."""
    if office.health is None:
        raise Unavailable("health: no coordinator runs here", hint="start `littoral-cloud serve`")
    return office.health
