"""The operator API as one ASGI application."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI

from littoral import __version__
from littoral_cloud.api.rest import admissions, events, nodes, operators, rollouts
from littoral_cloud.api.rest.access import refuse_paths_without_role
from littoral_cloud.api.rest.failures import add_failures
from littoral_cloud.commands.use_case import Office

ROUTERS = (nodes.router, admissions.router, rollouts.router, operators.router, events.router)


def rest_app(office: Office) -> FastAPI:
    """A new path or use case without a role does not start."""
    app = FastAPI(
        title="Littoral",
        version=__version__,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,  # its page would load scripts from other hosts
        redoc_url=None,
    )
    app.state.office = office
    v1 = APIRouter(prefix="/api/v1")
    for router in ROUTERS:
        v1.include_router(router)
    app.include_router(v1)
    add_failures(app)
    refuse_paths_without_role(app)
    return app
