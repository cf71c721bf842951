"""What a browser gets where a page cannot be shown: the same words as the API's, as a page."""

from __future__ import annotations

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from littoral.errors import FleetError
from littoral_cloud.api.rest.failures import http_status_of
from littoral_cloud.trust.people import NotSignedIn
from littoral_cloud.web.page_words import on_page
from littoral_cloud.web.render import rendered, see_other
from littoral_cloud.web.visitor import visitor_if_any

log = logging.getLogger(__name__)

_TITLES = {401: "Sign in first", 403: "Not allowed", 404: "Not found", 409: "Somebody was faster", 412: "Somebody was faster"}

_OTHER = "This did not work"


def add_page_failures(app: FastAPI) -> None:
    """Errors of pages become pages; those of the API stay what they are."""
    of_api = dict(app.exception_handlers)

    async def known(request: Request, error: Exception) -> Response:
        if _of_api(request):
            answer: Response = await of_api[FleetError](request, error)
            return answer
        assert isinstance(error, FleetError)
        if isinstance(error, NotSignedIn) and request.method == "GET" and "hx-request" not in request.headers:
            return see_other("/sign-in")
        status = http_status_of(error)
        if status == 500:
            log.error("%s %s: %s", request.method, request.url.path, error, exc_info=error)
        return await _problem(request, status, error.message, error.hint)

    async def invalid(request: Request, error: Exception) -> Response:
        if _of_api(request):
            answer: Response = await of_api[RequestValidationError](request, error)
            return answer
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        return await _problem(request, 422, f"{first['loc'][-1]}: {first['msg']}", "go back, and give another value")

    async def of_http(request: Request, error: Exception) -> Response:
        if _of_api(request) or request.url.path.startswith("/static/"):
            answer: Response = await of_api[HTTPException](request, error)
            return answer
        assert isinstance(error, HTTPException)
        return await _problem(request, error.status_code, f"{request.url.path[:200]}: {error.detail}", "")

    async def unknown(request: Request, error: Exception) -> Response:
        answer: Response = await of_api[Exception](request, error)
        if _of_api(request):
            return answer
        words = "the coordinator failed; its log says why"
        return rendered("problem.html", 500, visitor=None, title=_OTHER, message=words, hint="", back="/")

    app.add_exception_handler(FleetError, known)
    app.add_exception_handler(Exception, unknown)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, of_http)


def _of_api(request: Request) -> bool:
    return request.url.path.startswith("/api/") or getattr(request.scope.get("route"), "include_in_schema", False)


async def _problem(request: Request, status: int, message: str, hint: str) -> Response:
    visitor = await visitor_if_any(request) if status != 401 else None
    title = _TITLES.get(status, _OTHER)
    back = "/" if visitor else "/sign-in"
    return rendered("problem.html", status, visitor=visitor, title=title, message=on_page(message), hint=on_page(hint), back=back)
