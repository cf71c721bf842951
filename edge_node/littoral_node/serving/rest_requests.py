"""The REST requests of the Open Inference Protocol: methods, statuses and small bodies. Pure functions; rest.py uses them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from littoral.errors import BadInput, Conflict, FleetError, NotFound, TooLarge, Unavailable
from littoral_node.runtimes.ended import BadValues, RuntimeCrash, RuntimeHang
from littoral_node.serving.access import Misdirected, NoToken
from littoral_node.serving.concurrency import TooManyRequests
from littoral_node.serving.http.errors import HttpError
from littoral_node.serving.http.http1 import Head
from littoral_node.serving.service import Forbidden
from littoral_node.serving.values import kind_of, shown

HEADER_LENGTH = "inference-header-content-length"
INLINE_BYTES = 64 * 1024
"""A longer JSON, or a packed body that may be longer, is read in a thread, in short steps (large.py)."""
_RETRY = (("retry-after", "1"),)
_READ_METHODS, _CALL_METHODS = ("GET", "HEAD", "OPTIONS"), ("POST", "OPTIONS")


class BadMethod(FleetError):
    """A path does not support this method."""

    code = "bad-method"


_STATUS: Mapping[type[FleetError], int] = {
    BadInput: 400,
    NoToken: 401,
    Forbidden: 403,
    NotFound: 404,
    BadMethod: 405,
    Conflict: 409,
    TooLarge: 413,
    Misdirected: 421,
    BadValues: 422,
    TooManyRequests: 429,
    Unavailable: 503,
    RuntimeCrash: 503,
    RuntimeHang: 503,
}
_HEADERS: Mapping[int, tuple[tuple[str, str], ...]] = {
    401: (("www-authenticate", "Bearer"),),
    415: (("accept-encoding", "gzip, deflate"),),
    429: _RETRY,
    503: _RETRY,
}


def status_of(error: FleetError | HttpError) -> int:
    if isinstance(error, HttpError):
        return error.status
    return next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), 500)


def hint_of(error: FleetError | HttpError, status: int, head: Head | None) -> str:
    """The error's own way out, else where the reader finds one."""
    if error.hint:
        return error.hint
    if head is not None and (asked := inferred(head)) is not None and status == 400:
        return f"GET /v2/models/{asked[0]} tells names, types and shapes"
    return "the agent's log says more" if status >= 500 else "docs/serving.md lists what may be asked"


def headers_of(status: int, head: Head | None) -> tuple[tuple[str, str], ...]:
    """The headers of a refusal with this status."""
    if status == 405 and head is not None:
        return (("allow", ", ".join(methods_of(head.parts))),)
    return _HEADERS.get(status, ())


def inferred(head: Head) -> tuple[str, str] | None:
    """The model and the version ("": any) of a request for inference; None: it is another request."""
    match head.parts if head.method == "POST" else ():
        case ["v2", "models", name, "infer"]:
            return name, ""
        case ["v2", "models", name, "versions", version, "infer"]:
            return name, version
    return None


def methods_of(parts: tuple[str, ...]) -> tuple[str, ...]:
    """The methods of a path; empty: there is no such path."""
    match parts:
        case ["v2"] | ["v2", "health", "live" | "ready"] | ["metrics"] | ["v2", "models", _] | ["v2", "models", _, "ready"]:
            return _READ_METHODS
        case ["v2", "models", _, "versions", _] | ["v2", "models", _, "versions", _, "ready"]:
            return _READ_METHODS
        case ["v2", "models", _, "infer"] | ["v2", "models", _, "versions", _, "infer"] | ["v2", "repository", "index"]:
            return _CALL_METHODS
        case ["v2", "repository", "models", _, "load" | "unload"]:
            return _CALL_METHODS
        case ["*"]:
            return ("GET", "HEAD", "POST", "OPTIONS")
    return ()


def only_ready(body: bytes | bytearray) -> bool:
    """Whether a request for the index asks for ready models only. Raises BadInput."""
    ready = _small_object(body).get("ready", False)
    if not isinstance(ready, bool):
        raise BadInput('body: must be empty, {} or {"ready": true}')
    return ready


def check_plain(body: bytes | bytearray) -> None:
    """Of a request to load or unload. Raises BadInput for parameters that are not supported."""
    parameters = _small_object(body).get("parameters") or {}
    if not isinstance(parameters, dict) or not set(parameters) <= {"unload_dependents"}:
        raise BadInput(f"parameters: {shown(parameters)} are not taken", hint="a model is loaded as its release defines it")


def _small_object(body: bytes | bytearray) -> Mapping[str, Any]:
    if len(body) > INLINE_BYTES:
        raise TooLarge(f"body: {len(body)} bytes, at most {INLINE_BYTES} are taken here")
    parsed = json_of(body) if body.strip() else {}
    if not isinstance(parsed, dict):
        raise BadInput(f"body: must be empty or a JSON object, is {kind_of(parsed)}")
    return parsed


def split(body: bytes | bytearray, head: str | None) -> tuple[bytes | bytearray, memoryview | None]:
    """The JSON, and the bytes behind it where `head` gives the length of the JSON. Raises BadInput."""
    if head is None:
        return body, None
    if not (head.isascii() and head.isdigit() and len(head) <= 15 and int(head) <= len(body)):
        raise BadInput(f"{HEADER_LENGTH}: {head[:80]!r} is not the length of the JSON in a body of {len(body)} bytes")
    return body[: int(head)], memoryview(body)[int(head) :]


def json_of(text: bytes | bytearray) -> Any:
    """Raises BadInput."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BadInput(f"body: is not JSON: {error}") from error
