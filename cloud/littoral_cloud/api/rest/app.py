"""The operator API as one ASGI application."""

from __future__ import annotations

import functools
from functools import partial
from typing import Any

from fastapi import APIRouter, Depends, FastAPI

from littoral import __version__
from littoral_cloud.api.rest import (
    admissions,
    artifacts,
    audit,
    certificates,
    cohorts,
    events,
    fleet_identity,
    health,
    models,
    nodes,
    operators,
    overview,
    releases,
    rollouts,
    runs,
    samples,
    sessions,
    tokens,
    uploads,
    webhooks,
)
from littoral_cloud.api.rest.access import OFFICE, refuse_paths_without_role
from littoral_cloud.api.rest.calls import HttpCalls
from littoral_cloud.api.rest.failures import ErrorBody, add_failures
from littoral_cloud.api.rest.guard import Asgi, Guard, Receive, Scope, Send
from littoral_cloud.api.rest.idempotency import Idempotency, with_keys
from littoral_cloud.api.rest.preconditions import refuse_unknown_if_match
from littoral_cloud.commands.use_case import Office

ERRORS: dict[int | str, dict[str, Any]] = {
    "default": {"model": ErrorBody, "description": "Every refusal has this body."},
    422: {"model": ErrorBody, "description": "Something in the request is wrong."},
}
ROUTERS = (
    nodes.router,
    admissions.router,
    artifacts.router,
    audit.router,
    certificates.router,
    cohorts.router,
    overview.router,
    events.router,
    fleet_identity.router,
    models.router,
    operators.router,
    releases.router,
    rollouts.router,
    runs.router,
    samples.router,
    sessions.router,
    tokens.router,
    uploads.router,
    webhooks.router,
)


def guarded(app: FastAPI, office: Office) -> Asgi:
    """The application for one office, behind what is in front of every path."""
    inner = HttpCalls(Guard(Idempotency(app, app)), app, office.health.counted.http if office.health is not None else None)

    async def of_office(scope: Scope, receive: Receive, send: Send) -> None:
        scope[OFFICE] = office
        await inner(scope, receive, send)

    return of_office


@functools.cache
def rest_app() -> FastAPI:
    """The operator API. Made once: FastAPI reads the types of all paths for half a second."""
    app = new_rest_app()
    refuse_paths_without_role(app)
    return app


def new_rest_app() -> FastAPI:
    """For who adds paths to it, and checks all of them then (`refuse_paths_without_role`): the check reads every path's types."""
    app = FastAPI(
        title="Littoral",
        version=__version__,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,  # its page would load scripts from other hosts
        redoc_url=None,
    )
    v1 = APIRouter(prefix="/api/v1", dependencies=[Depends(refuse_unknown_if_match)], responses=ERRORS)
    for router in ROUTERS:
        v1.include_router(router)
    app.include_router(v1)
    app.include_router(health.router)
    app.openapi = partial(with_keys, app.openapi)  # type: ignore[method-assign]
    add_failures(app)
    return app
