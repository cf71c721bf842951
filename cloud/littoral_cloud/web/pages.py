"""The pages, and where a browser signs in. Each page calls use cases, as the API does."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from littoral.errors import FleetError
from littoral_cloud.api.rest.access import COOKIE, OPEN, HereDep, needs
from littoral_cloud.api.rest.failures import failure
from littoral_cloud.commands import nodes
from littoral_cloud.commands.nodes import NodeFilter
from littoral_cloud.trust.people import NotSignedIn
from littoral_cloud.trust.web_sessions import LASTS_S, sign_in, sign_out

HERE = Path(__file__).parent
PAGE_NODES = 50

_templates = Environment(
    loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
_OPEN: dict[str, Any] = {"openapi_extra": {"x-role": OPEN}}
pages = APIRouter(include_in_schema=False)

SECURITY = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "strict-transport-security": "max-age=31536000",
}


def _page(template: str, status: int = 200, **values: Any) -> HTMLResponse:
    return HTMLResponse(
        _templates.get_template(template).render(values), status, headers={**SECURITY, "cache-control": "no-store"}
    )


@pages.get("/sign-in", **_OPEN)
async def ask(request: Request) -> Response:
    return _page("sign_in.html", problem="")


@pages.post("/sign-in", **_OPEN)
async def enter(request: Request, token: Annotated[str, Form()]) -> Response:
    core = request.app.state.office.core
    try:
        cookie, _ = await sign_in(core.ledger, token.strip(), core.clock(), secrets.token_urlsafe)
    except FleetError as error:
        return _page("sign_in.html", 401, problem=error.message)
    answer = RedirectResponse("/", 303, headers=SECURITY)
    answer.set_cookie(COOKIE, cookie, max_age=int(LASTS_S), path="/", secure=True, httponly=True, samesite="strict")
    return answer


@pages.post("/sign-out", **_OPEN)
async def leave(request: Request) -> Response:
    if cookie := request.cookies.get(COOKIE):
        await sign_out(request.app.state.office.core.ledger, cookie)
    answer = RedirectResponse("/sign-in", 303, headers=SECURITY)
    answer.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="strict")
    return answer


@pages.get("/", **needs(nodes.page))
async def fleet(here: HereDep, after: str = "", state: str = "", model: str = "") -> Response:
    found = await nodes.page(here.office, here.caller, which=NodeFilter(state=state, model=model), after=after, limit=PAGE_NODES)
    return _page("fleet.html", caller=here.caller, page=found, state=state, model=model)


def add_pages(app: FastAPI) -> None:
    """Adds the pages; who is not signed in is sent to the sign-in page."""
    app.include_router(pages)
    app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")

    @app.exception_handler(NotSignedIn)
    async def ask_first(request: Request, error: NotSignedIn) -> Response:
        if request.method == "GET" and not getattr(request.scope.get("route"), "include_in_schema", True):
            return RedirectResponse("/sign-in", 303, headers=SECURITY)
        return failure(error)
