"""ETag and If-Match: a thing's generation in the ledger. Who changes what somebody else has changed since gets 412, and
nothing is lost.

Specification: RFC 9110, sections 8.8.3 and 13.1.1. A path that does not take If-Match refuses it, so that no caller relies on it.
"""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Depends, Header, Request, Response

from littoral.errors import BadInput

_TAG = re.compile(r'"(\d{1,15})"')


def set_etag(response: Response, generation: int) -> None:
    """Says of which generation an answer is."""
    response.headers["etag"] = f'"{generation}"'


async def if_match(
    if_match: Annotated[str | None, Header(description="The ETag that was read; 412 where it is another now.")] = None,
) -> int | None:
    """The generation that the caller has read; None: any. Raises BadInput."""
    if if_match is None or if_match.strip() == "*":
        return None
    found = _TAG.fullmatch(if_match.strip())
    if not found:
        raise BadInput(f"If-Match: {if_match[:80]!r} is no ETag of this API", hint='like If-Match: "3", as the ETag of an answer')
    return int(found[1])


IfMatchDep = Annotated[int | None, Depends(if_match)]


async def refuse_unknown_if_match(request: Request) -> None:
    """A dependency of every path."""
    if "if-match" in request.headers and not _takes(request):
        raise BadInput("If-Match: this path does not take it", hint="leave it out")


def _takes(request: Request) -> bool:
    dependant = getattr(request.scope.get("route"), "dependant", None)
    return dependant is not None and any(each.call is if_match for each in dependant.dependencies)
