"""Where a browser signs in and out."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import Response

from littoral.errors import FleetError
from littoral_cloud.api.rest.access import COOKIE, office_of
from littoral_cloud.fleet.ledger import Change
from littoral_cloud.trust.people import Caller, Role
from littoral_cloud.trust.web_sessions import LASTS_S, sign_in, sign_out, use_link
from littoral_cloud.web.provider import Provider
from littoral_cloud.web.render import rendered, see_other
from littoral_cloud.web.visitor import OPEN_PAGE, VisitorDep

router = APIRouter(include_in_schema=False)


@router.get("/sign-in", **OPEN_PAGE)
async def ask(request: Request) -> Response:
    return _sign_in_page(request)


@router.post("/sign-in", **OPEN_PAGE)
async def enter(request: Request, token: Annotated[str, Form(max_length=1_000)]) -> Response:
    core = office_of(request).core
    try:
        cookie, _ = await sign_in(core.ledger, token.strip(), core.clock(), secrets.token_urlsafe)
    except FleetError as error:
        await _note_failure(request)
        return _sign_in_page(request, error.message)
    return _entered(cookie)


@router.get("/enter", **OPEN_PAGE)
async def enter_once(request: Request, code: str = "") -> Response:
    """Where the link of `littoral-cloud page` leads."""
    core = office_of(request).core
    try:
        cookie = await use_link(core.ledger, code[:1_000], core.clock(), secrets.token_urlsafe)
    except FleetError as error:
        await _note_failure(request)
        return _sign_in_page(request, f"{error.message}: {error.hint}")
    return _entered(cookie)


@router.post("/sign-out", **OPEN_PAGE)
async def leave(request: Request, visitor: VisitorDep) -> Response:
    await sign_out(visitor.office.core.ledger, request.cookies[COOKIE])
    answer = see_other("/sign-in")
    answer.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="strict")
    return answer


async def _note_failure(request: Request) -> None:
    """In the audit trail, under the address, at the rate of one caller."""
    office = office_of(request)
    address = request.client.host if request.client is not None else "?"
    stranger = Caller(name=address, role=Role.VIEWER, id=f"address {address}")
    line = office.refusals.line(stranger, "session.sign-in", asyncio.get_running_loop().time())
    if line is not None:
        await office.core.ledger.commit(Change((), (replace(line, details={}),)))


def _sign_in_page(request: Request, problem: str = "") -> Response:
    provider: Provider | None = request.app.state.provider
    return rendered("sign_in.html", 401 if problem else 200, problem=problem, provider=provider.name if provider else "")


def _entered(cookie: str) -> Response:
    answer = see_other("/")
    answer.set_cookie(COOKIE, cookie, max_age=int(LASTS_S), path="/", secure=True, httponly=True, samesite="strict")
    return answer
