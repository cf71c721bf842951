"""An error that the coordinator answered becomes the FleetError that it was, with its exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from littoral.errors import BadInput, Conflict, FleetError, NoSpace, NotFound, TooLarge, Unavailable, Untrusted

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
    by_status = _BY_STATUS.get(answer.status_code, FleetError)
    kind = next((each for each in _kinds(FleetError) if each.code == code), by_status)
    error = kind(message, hint=hint)
    error.code = code  # type: ignore[misc]  # where this release does not know it
    return error


def _kinds(base: type[FleetError]) -> list[type[FleetError]]:
    return [base, *(each for direct in base.__subclasses__() for each in _kinds(direct))]
