"""The id of the request that this task works for: of one call over REST or gRPC. A session is one call, so its id is in all lines
of the session.

A caller may give one (`x-request-id`), so that its own log and ours can be laid side by side; it comes back with the answer.
"""

from __future__ import annotations

import re
import secrets
from contextvars import ContextVar

HEADER = "x-request-id"
"""In HTTP headers and gRPC metadata, both ways."""

_GIVEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_current: ContextVar[str] = ContextVar("request_id", default="")


def request_id() -> str:
    """Of this task and those that it started; "": it works for no request."""
    return _current.get()


def begin_request(given: str | bytes | None = None) -> str:
    """From here on this task works for a request. Gives its id: the one that its caller gave, where that is a short word of
    letters, digits, dots, hyphens and underscores; else a new one, 16 hexadecimal digits."""
    text = given if isinstance(given, str) else ""
    id = text if _GIVEN.fullmatch(text) else secrets.token_hex(8)
    _current.set(id)
    return id
