"""Server-sent events: what changes in the fleet, as it changes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from littoral.errors import BadInput
from littoral_cloud.api.rest.access import HereDep, needs
from littoral_cloud.commands import events
from littoral_cloud.commands.events import KINDS, ChangeSeen

router = APIRouter(prefix="/events", tags=["events"])

QUIET_S = 15.0
"""A comment goes out after this long without an event, so that a proxy and the other end see that the stream lives."""


@router.get("", response_class=StreamingResponse, **needs(events.follow))
async def follow(
    here: HereDep,
    kind: Annotated[list[str], Query(description="Only these kinds (repeatable)")] = [],  # noqa: B006
) -> StreamingResponse:
    if unknown := set(kind) - set(KINDS):
        raise BadInput(f"kind: {min(unknown)[:80]!r} is not known", hint=f"one of {', '.join(KINDS)}")
    changes = await events.follow(here.office, here.caller, kinds=tuple(kind) or KINDS, quiet_s=QUIET_S)
    return StreamingResponse(_lines(changes), media_type="text/event-stream", headers={"cache-control": "no-store"})


async def _lines(changes: AsyncIterator[ChangeSeen | None]) -> AsyncIterator[str]:
    yield ": open\n\n"
    async for change in changes:
        if change is None:
            yield ": alive\n\n"
        else:
            body = {"kind": change.kind, "id": change.id, "generation": change.generation}
            yield f"event: {change.kind}\ndata: {json.dumps(body)}\n\n"
