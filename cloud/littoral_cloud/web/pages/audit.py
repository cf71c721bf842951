"""The audit trail: who did what, newest first, and whether its chain is whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response

from littoral_cloud.api.rest.access import needs
from littoral_cloud.commands import audit
from littoral_cloud.commands.audit import AuditFilter, AuditLine
from littoral_cloud.terminal.text import all_beside
from littoral_cloud.web.render import with_query
from littoral_cloud.web.visitor import VisitorDep
from littoral_cloud.web.words import instant

router = APIRouter(prefix="/audit", include_in_schema=False)

LINES = 60
SPANS = (("", "All time"), ("3600", "The last hour"), ("86400", "The last day"), ("604800", "The last week"))
_MOST_WORDS = 300
_TIMES = frozenset({"until", "since"})


@router.get("", **needs(audit.page))
async def trail(
    visitor: VisitorDep,
    action: Annotated[str, Query(max_length=100)] = "",
    subject: Annotated[str, Query(max_length=200)] = "",
    span: Annotated[str, Query(max_length=9, pattern=r"^\d*$")] = "",
    after: Annotated[str, Query(max_length=300)] = "",
) -> Response:
    pattern = action.strip()
    if pattern and "*" not in pattern and "." not in pattern:
        pattern += ".*"
    since = visitor.office.core.clock() - float(span) if span else 0.0
    which = AuditFilter(since=since, subject=subject.strip(), action=pattern)
    found = await audit.page(visitor.office, visitor.caller, which=which, newest_first=True, after=after, limit=LINES)
    given = {"action": action, "subject": subject, "span": span}
    return visitor.page(
        "audit.html",
        lines=[(line, words_of(line)) for line in found.items],
        archived=found.archived,
        warning=found.warning,
        given=given,
        spans=SPANS,
        first=with_query("/audit", given) if after else "",
        next=with_query("/audit", given, after=found.next) if found.next else "",
        verified=None,
    )


@router.get("/verified", **needs(audit.verify))
async def verified(visitor: VisitorDep) -> Response:
    found = await audit.verify(visitor.office, visitor.caller, head="", archived=False)
    return visitor.page("verified.html", found=found)


def words_of(line: AuditLine) -> str:
    """Its details in one line, with names beside ids, times in UTC, and without what is empty."""
    details = {key: all_beside(value, line.names) for key, value in line.details.items() if value not in (None, "", [], {}, ())}
    told = "; ".join(f"{key.replace('_', ' ')} {_plain(value, time=is_time(key))}" for key, value in details.items())
    return told if len(told) <= _MOST_WORDS else f"{told[: _MOST_WORDS - 1]}…"


def is_time(key: str) -> bool:
    """Whether a detail of this name is a time, in seconds since 1970-01-01 UTC, where it is a number."""
    return key in _TIMES or key.endswith("_at")


def _plain(value: Any, *, time: bool) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if time and isinstance(value, int | float):
        return instant(value)
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value, ensure_ascii=False).replace('"', "")
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() else f"{value:g}"
    return str(value)
