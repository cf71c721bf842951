"""Paths of the audit trail."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from littoral_cloud.api.rest.access import HereDep, needs
from littoral_cloud.api.rest.paging import AfterQuery, LimitQuery
from littoral_cloud.commands import audit
from littoral_cloud.commands.audit import ArchivedFile, AuditFilter, AuditPage, AuditVerified
from littoral_cloud.fleet.ledger import AuditEntry

router = APIRouter(prefix="/audit", tags=["audit"])

JSON_LINES = "application/jsonl"
_LATEST_S = 253_402_300_799.0  # of the year 9999

SinceQuery = Annotated[float, Query(ge=0, le=_LATEST_S, description="Seconds since 1970-01-01 UTC.")]


class AuditOrder(StrEnum):
    OLDEST = "oldest"
    NEWEST = "newest"


@router.get("", **needs(audit.page))
async def page(
    here: HereDep,
    since: SinceQuery = 0.0,
    subject: Annotated[str, Query(max_length=600, description="An id, or the name of a node.")] = "",
    action: Annotated[str, Query(max_length=100, description="A pattern with *, like rollout.*")] = "",
    order: Annotated[AuditOrder, Query(description="Which lines come first.")] = AuditOrder.OLDEST,
    after: AfterQuery = "",
    limit: LimitQuery = 50,
) -> AuditPage:
    which = AuditFilter(since=since, subject=subject, action=action)
    newest_first = order is AuditOrder.NEWEST
    return await audit.page(here.office, here.caller, which=which, newest_first=newest_first, after=after, limit=limit)


@router.get(
    "/export",
    response_class=StreamingResponse,
    responses={200: {"content": {JSON_LINES: {"schema": {"type": "string"}}}}},
    **needs(audit.export),
)
async def export(here: HereDep, since: SinceQuery = 0.0, archived: bool = False) -> StreamingResponse:
    lines = await audit.export(here.office, here.caller, since=since, archived=archived)
    return StreamingResponse(_json_lines(lines), media_type=JSON_LINES, headers={"cache-control": "no-store"})


async def _json_lines(lines: AsyncIterator[AuditEntry]) -> AsyncIterator[str]:
    async for entry in lines:
        yield json.dumps(asdict(entry), allow_nan=False) + "\n"


@router.get("/verify", **needs(audit.verify))
async def verify(
    here: HereDep,
    head: Annotated[str, Query(max_length=64, description="A head that must be in the trail.")] = "",
    archived: bool = False,
) -> AuditVerified:
    return await audit.verify(here.office, here.caller, head=head, archived=archived)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveRequest:
    before: float | None = None  # seconds since 1970-01-01 UTC
    older_than_s: float | None = None
    to: str = ""  # a folder on the coordinator's machine, for its own user alone


@router.post("/archive", **needs(audit.archive))
async def archive(here: HereDep, request: ArchiveRequest) -> tuple[ArchivedFile, ...]:
    return await audit.archive(here.office, here.caller, before=request.before, older_than_s=request.older_than_s, to=request.to)
