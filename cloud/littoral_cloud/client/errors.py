"""An error that the coordinator answered becomes the FleetError that it was, with its exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from littoral.errors import (
    BadInput,
    Conflict,
    FleetError,
    NoSpace,
    NotFound,
    RuntimeFailure,
    TooLarge,
    Unavailable,
    Untrusted,
    error_of,
)

if TYPE_CHECKING:
    import httpx

_MOST_WORDS = 500
_BY_STATUS: dict[int, type[FleetError]] = {
    401: Untrusted,
    403: Untrusted,
    404: NotFound,
    409: Conflict,
    412: Conflict,
    413: TooLarge,
    422: BadInput,
    424: RuntimeFailure,
    503: Unavailable,
    507: NoSpace,
}
"""The kind of an error whose code this process does not know."""


def error_from(answer: httpx.Response) -> FleetError:
    """Of an answer that was read and is no success."""
    try:
        body = answer.json()["error"]
        code, message, hint = (str(body[key]) for key in ("code", "message", "hint"))
    except (ValueError, KeyError, TypeError):
        return FleetError(f"the coordinator answered {answer.status_code}: {answer.text[:_MOST_WORDS]!r}")
    return error_of(code, message, hint, otherwise=_BY_STATUS.get(answer.status_code, FleetError))
