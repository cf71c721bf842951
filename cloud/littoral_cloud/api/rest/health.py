"""/healthz, /readyz and /metrics: where load balancers, supervisors and Prometheus look for them, so not under /api.

The first two need no token: they name parts and reasons, and no address, path or node. /metrics needs the role viewer. There is
no exception for callers on loopback: behind a proxy on the same machine everybody is one.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from littoral_cloud.api.rest.access import OPEN, HereDep, OfficeDep, needs
from littoral_cloud.commands import coordinator
from littoral_cloud.health.health import HealthAnswer

router = APIRouter(tags=["health"])

_OPEN: dict[str, Any] = {"openapi_extra": {"x-role": OPEN}}


@router.get("/healthz", operation_id="health.live", summary="Whether the process answers.", **_OPEN)
async def healthz(office: OfficeDep) -> Response:
    return _response(coordinator.running(office).healthz())


@router.get("/readyz", operation_id="health.ready", summary="Whether it may be sent work; 503 names what is not ready.", **_OPEN)
async def readyz(office: OfficeDep) -> Response:
    return _response(coordinator.running(office).readyz())


@router.get("/metrics", response_class=Response, **needs(coordinator.metrics))
async def metrics(here: HereDep) -> Response:
    return _response(await coordinator.metrics(here.office, here.caller))


def _response(answer: HealthAnswer) -> Response:
    return Response(answer.body, answer.status, media_type=answer.content_type, headers={"cache-control": "no-store"})
