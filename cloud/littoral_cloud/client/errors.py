"""An error that the coordinator answered becomes the FleetError that it was, with its exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from littoral.errors import FleetError

if TYPE_CHECKING:
    import httpx

_MOST_WORDS = 500


def error_from(answer: httpx.Response) -> FleetError:
    """Of an answer that was read and is no success."""
    try:
        body = answer.json()["error"]
        code, message, hint = (str(body[key]) for key in ("code", "message", "hint"))
    except (ValueError, KeyError, TypeError):
        return FleetError(f"the coordinator answered {answer.status_code}: {answer.text[:_MOST_WORDS]!r}")
    kind = next((each for each in _kinds(FleetError) if each.code == code), FleetError)
    error = kind(message, hint=hint)
    error.code = code  # type: ignore[misc]  # where this release does not know it
    return error


def _kinds(base: type[FleetError]) -> list[type[FleetError]]:
    return [base, *(each for direct in base.__subclasses__() for each in _kinds(direct))]
