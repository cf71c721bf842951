"""The two paths of a sign-in through a provider; see littoral_cloud.web.provider."""

from __future__ import annotations

import secrets

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse, Response

from littoral.transport import asked_at, join_address
from littoral_cloud.api.rest.access import COOKIE as SESSION
from littoral_cloud.api.rest.access import OPEN
from littoral_cloud.commands.use_case import Office
from littoral_cloud.settings import CloudSettings
from littoral_cloud.trust.web_sessions import LASTS_S, open_session
from littoral_cloud.web.provider import COOKIE, DONE, Provider

_OPEN = {"x-role": OPEN}
_ON = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Signed in</title>'
    '<meta http-equiv="refresh" content="0;url=/"></head><body><p>You are signed in. <a href="/">Go on</a></p></body></html>'
)
"""A page of ours: the browser came from another site, and keeps a strict cookie back from redirects that began there."""


def add_provider(app: FastAPI, office: Office, provider: Provider) -> None:
    """Adds the paths, and names the provider to the sign-in page."""
    app.state.provider = provider
    app.include_router(_paths(office, provider))


def page_url(settings: CloudSettings) -> str:
    """Where browsers reach the page, without a path."""
    name = settings.public_names[0] if settings.public_names else asked_at(settings.api_host)
    return settings.public_url.rstrip("/") or f"https://{join_address(name, settings.api_port)}"


def _paths(office: Office, provider: Provider) -> APIRouter:
    paths, core = APIRouter(include_in_schema=False), office.core

    @paths.get("/sign-in/provider", openapi_extra=_OPEN)
    async def begin(request: Request) -> Response:
        return await provider.begin(request, core.ledger, core.clock())

    @paths.get(DONE, openapi_extra=_OPEN)
    async def done(request: Request) -> Response:
        caller = await provider.finish(request, core.ledger, core.clock())
        session = await open_session(core.ledger, caller, core.clock(), secrets.token_urlsafe)
        answer = HTMLResponse(_ON, headers={"cache-control": "no-store"})
        answer.set_cookie(SESSION, session, max_age=int(LASTS_S), path="/", secure=True, httponly=True, samesite="strict")
        answer.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="lax")
        return answer

    return paths
