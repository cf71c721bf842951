"""What a refused request gets: one body for every error, and the status for each kind of error."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from littoral.errors import (
    BadInput,
    Changed,
    Conflict,
    DigestMismatch,
    FleetError,
    NoSpace,
    NotFound,
    RuntimeFailure,
    TooLarge,
    Unavailable,
    Untrusted,
)
from littoral_cloud.federation.evaluation import WorseThanBase
from littoral_cloud.federation.run import WrongState
from littoral_cloud.logs.request_id import request_id
from littoral_cloud.trust.people import NotSignedIn

log = logging.getLogger(__name__)


class TooOften(FleetError):
    """A caller asks more often than it may."""

    code = "too-often"
    retryable = True
    exit_code = 8


HTTP_STATUS: dict[type[FleetError], int] = {
    NotSignedIn: 401,
    Untrusted: 403,
    DigestMismatch: 422,
    NotFound: 404,
    Changed: 412,
    Conflict: 409,
    WorseThanBase: 409,
    WrongState: 409,
    TooLarge: 413,
    TooOften: 429,
    BadInput: 422,
    RuntimeFailure: 424,
    NoSpace: 507,
    Unavailable: 503,
}
"""By class; a class that is not named has its nearest named ancestor's."""
_WORDS = {404: "not-found", 405: "bad-method", 413: "too-large"}


@dataclass(frozen=True, slots=True)
class ErrorShown:
    """`code` is stable; `field` is the part of the request that is wrong, where one is; `request_id` is in the log, too."""

    code: str
    message: str
    hint: str
    field: str
    request_id: str


@dataclass(frozen=True, slots=True)
class ErrorBody:
    error: ErrorShown


def http_status_of(error: FleetError) -> int:
    return next((HTTP_STATUS[kind] for kind in type(error).__mro__ if kind in HTTP_STATUS), 500)


def _body(code: str, message: str, hint: str = "", field: str = "") -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "hint": hint, "field": field, "request_id": request_id()}}


def failure(error: FleetError) -> JSONResponse:
    """The answer for an error."""
    field = _field(error.message) if isinstance(error, BadInput) else ""
    return JSONResponse(_body(error.code, error.message, error.hint, field), http_status_of(error))


def _field(message: str) -> str:
    """What a message of bad input names first; of a command's option the field that it fills."""
    name = message.partition(":")[0]
    return name.removeprefix("--").replace("-", "_") if name.startswith("--") else name


def add_failures(app: FastAPI) -> None:
    """Every error of a path becomes the one body. One that is a fault of ours is logged in `HttpCalls`."""

    @app.exception_handler(FleetError)
    async def known(request: Request, error: FleetError) -> JSONResponse:
        if http_status_of(error) == 500:
            log.error("%s %s: %s", request.method, request.url.path, error, exc_info=error)
        return failure(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
        return JSONResponse(_body("bad-input", f"{field}: {first['msg']}", "see /api/v1/openapi.json", field), 422)

    @app.exception_handler(HTTPException)
    async def of_http(request: Request, error: HTTPException) -> JSONResponse:
        code = _WORDS.get(error.status_code, "bad-request")
        return JSONResponse(
            _body(code, f"{request.method} {request.url.path[:200]}: {error.detail}", "see /api/v1/openapi.json"),
            error.status_code,
            headers=error.headers,
        )

    @app.exception_handler(Exception)
    async def unknown(request: Request, error: Exception) -> JSONResponse:
        return fault()


def fault() -> JSONResponse:
    """The answer where the coordinator fails on a request."""
    return failure(FleetError(f"the coordinator failed; its log says why, at request {request_id()}"))
