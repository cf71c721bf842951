"""Who calls the operator API, and the rule that no path is without a role."""

from __future__ import annotations

import asyncio
import pwd
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request
from fastapi.routing import APIRoute, iter_route_contexts

from littoral.errors import Unavailable
from littoral_cloud.commands.use_case import Office, check_role, refusals_audited, use_case_of
from littoral_cloud.trust.operator_tokens import KIND as TOKEN
from littoral_cloud.trust.operator_tokens import caller_of, caller_with, operator_token_id
from littoral_cloud.trust.people import Caller, Denied, NotSignedIn, Role
from littoral_cloud.trust.web_sessions import right_form, session_of

COOKIE = "__Host-littoral"
"""`__Host-`: browsers take it over TLS alone, and from no other host."""
CSRF_HEADER = "x-littoral-form"
OFFICE = "littoral.office"
"""In the scope of every request: one application may serve several offices."""
ACCEPTED = "littoral.accepted"
"""In the scope of a request whose caller is known."""
_SAFE = frozenset({"GET", "HEAD"})

LEDGER_S = 2.0
"""For so long a token is looked up in Redis: a scrape by Prometheus waits 10 s."""
OPEN = "open"
"""The role of a path that anybody may ask."""
USER = "uid:"
"""What a request over the socket in the data folder has as its client's host, with the user's number behind it."""


@dataclass(frozen=True, slots=True)
class Here:
    """What a path works with."""

    office: Office
    caller: Caller


def office_of(request: Request) -> Office:
    """For a path that anybody may ask."""
    office: Office = request.scope[OFFICE]
    return office


OfficeDep = Annotated[Office, Depends(office_of)]


async def here_of(request: Request) -> Here:
    """Raises NotSignedIn; Denied where a browser's request comes from no page of ours."""
    office = office_of(request)
    here = Here(office, await _caller(request, office))
    request.scope[ACCEPTED] = True
    declared = getattr(request.scope.get("route"), "openapi_extra", None) or {}
    if "x-use-case" in declared:  # before the body is read: who may not do this learns nothing else
        async with refusals_audited(office, here.caller, declared["x-use-case"]):
            check_role(here.caller, declared["x-use-case"], Role(declared["x-role"]))
    return here


async def _caller(request: Request, office: Office) -> Caller:
    ledger, now = office.core.ledger, office.core.clock()
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and secret:
        return await _with_token(office, secret.strip(), now)
    if request.client is not None and request.client.host.startswith(USER):
        return Caller(name=_user(int(request.client.host.removeprefix(USER))), role=Role.ADMIN)
    if cookie := request.cookies.get(COOKIE):
        caller, session = await session_of(ledger, cookie, now)
        if request.method not in _SAFE and not right_form(session, request.headers.get(CSRF_HEADER, "")):
            raise Denied(f"{CSRF_HEADER}: is missing or wrong", hint="reload the page, and do it again")
        return caller
    raise NotSignedIn("this needs a token", hint="littoral-cloud login, or the header Authorization: Bearer TOKEN")


async def _with_token(office: Office, secret: str, now: float) -> Caller:
    """While Redis is away, who the view knows: then above all Prometheus has to read how the coordinator is."""
    try:
        async with asyncio.timeout(LEDGER_S):
            return await caller_of(office.core.ledger, secret, now)
    except (TimeoutError, Unavailable) as error:
        id = operator_token_id(secret)
        held = office.view.of(TOKEN).get(id) if office.view is not None else None
        if held is None:
            raise Unavailable("redis: cannot be had, and this token was not seen before", hint="start Redis again") from error
        return caller_with(id, held.record, now)


HereDep = Annotated[Here, Depends(here_of)]


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


def needs(function: Callable[..., Any]) -> dict[str, Any]:
    """Of the use case that a path calls: what FastAPI documents of it."""
    case = use_case_of(function)
    return {
        "openapi_extra": {"x-role": case.role.value, "x-use-case": case.name},
        "operation_id": case.name,
        "summary": (function.__doc__ or "").strip().splitlines()[0],
    }


def refuse_paths_without_role(app: FastAPI) -> None:
    """Raises AssertionError: it is a fault of ours."""
    for each in iter_route_contexts(app.routes):  # `app.routes` itself has routers that were included, not their paths
        if isinstance(each.original_route, APIRoute):
            role = (each.original_route.openapi_extra or {}).get("x-role")
            assert role == OPEN or role in set(Role), f"{each.path}: names no role"
