"""Who looks at a page, and whether a form came from a page of ours.

A browser's form cannot send a header, so that the secret of the session comes in a field; a request for data (htmx) of a page
may send the header of the API.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse

from littoral_cloud.api.rest.access import ACCEPTED, COOKIE, CSRF_HEADER, OPEN, USER, Here, here_of, office_of
from littoral_cloud.commands.use_case import Office, refusals_audited, use_case_of
from littoral_cloud.trust.people import Caller, Denied, NotSignedIn, Role
from littoral_cloud.trust.web_sessions import right_form, session_of
from littoral_cloud.web.render import rendered

CSRF_FIELD = "form_secret"
OPEN_PAGE: dict[str, Any] = {"openapi_extra": {"x-role": OPEN}}
_SAFE = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True)
class Visitor:
    """`form_secret`: what the forms of this visitor's pages carry. `position`: of the ledger, before the page was read."""

    office: Office
    caller: Caller
    form_secret: str
    path: str
    position: int

    @property
    def here(self) -> Here:
        return Here(self.office, self.caller)

    def may(self, role: str) -> bool:
        return self.caller.role.includes(Role(role))

    async def needs(self, case: Callable[..., Any]) -> None:
        """Raises Denied where this visitor's role is lower than that of a use case."""
        needed = use_case_of(case)
        await refuse_lower_role(self.office, self.caller, needed.role, needed.name)

    def page(self, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        return rendered(template, status, visitor=self, **values)


async def visitor_of(request: Request) -> AsyncIterator[Visitor]:
    """Files that came with a form are gone afterwards. Raises NotSignedIn; Denied where a form is not from a page of ours."""
    try:
        yield await _visitor(request)
    finally:
        await request.close()


async def _visitor(request: Request) -> Visitor:
    office, path = office_of(request), request.url.path
    position = await office.core.ledger.position()
    by_browser = COOKIE in request.cookies and "authorization" not in request.headers
    if not by_browser or (request.client is not None and request.client.host.startswith(USER)):
        here = await here_of(request)
        return Visitor(here.office, here.caller, "", path, position)
    caller, session = await session_of(office.core.ledger, request.cookies[COOKIE], office.core.clock())
    if request.method not in _SAFE:
        if request.headers.get("content-type", "").startswith("multipart/"):
            needed = (getattr(request.scope.get("route"), "openapi_extra", None) or {}).get("x-role")
            if needed in set(Role):  # before a file is read
                await refuse_lower_role(office, caller, needed, path)
        given = request.headers.get(CSRF_HEADER, "")
        if not given:
            given = str((await request.form()).get(CSRF_FIELD, ""))
        if not right_form(session, given):
            raise Denied("form: is not from a page of this session", hint="reload the page, and do it again")
    request.scope[ACCEPTED] = True
    return Visitor(office, caller, session.csrf, path, position)


async def refuse_lower_role(office: Office, caller: Caller, needed: str, what: str) -> None:
    """Before a form is shown, or a file is read. Raises Denied, with a line for `what` in the audit trail."""
    async with refusals_audited(office, caller, what):
        if not caller.role.includes(Role(needed)):
            raise Denied(f"this needs the role {needed}, and you are {caller.role}", hint="ask an admin for such a token")


async def visitor_if_any(request: Request) -> Visitor | None:
    """For a page of an error."""
    try:
        return await _visitor(request)
    except (NotSignedIn, Denied):
        return None


VisitorDep = Annotated[Visitor, Depends(visitor_of)]
