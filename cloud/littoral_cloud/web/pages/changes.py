"""Server-sent events of the page: that something changed, so that what is on the screen is asked for again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from littoral.errors import BadInput
from littoral_cloud.api.rest.access import needs
from littoral_cloud.commands import events
from littoral_cloud.commands.events import KINDS, ChangeSeen
from littoral_cloud.web.render import SECURITY
from littoral_cloud.web.visitor import VisitorDep

router = APIRouter(include_in_schema=False)

QUIET_S = 15.0


@router.get("/changes", **needs(events.follow))
async def changes(
    visitor: VisitorDep,
    kind: Annotated[list[str], Query()],
    since: Annotated[int, Query(ge=0, description="Position of the ledger before the page was read")],
    every: Annotated[float, Query(ge=1, le=60, description="Seconds between two events, at least")] = 1.0,
) -> StreamingResponse:
    if unknown := set(kind) - set(KINDS):
        raise BadInput(f"kind: {min(unknown)[:80]!r} is not known")
    followed = await events.follow(visitor.office, visitor.caller, kinds=tuple(kind), quiet_s=QUIET_S, since=since)
    headers = {**SECURITY, "cache-control": "no-store"}
    return StreamingResponse(_beats(followed, every), media_type="text/event-stream", headers=headers)


async def _beats(followed: AsyncIterator[ChangeSeen | None], every: float) -> AsyncIterator[str]:
    """At most one event in this time, however much changes."""
    yield ": open\n\n"
    seen, loop = asyncio.Event(), asyncio.get_running_loop()

    async def read() -> None:
        try:
            async for change in followed:
                if change is not None:
                    seen.set()
        finally:
            seen.set()

    reading, next_at = asyncio.create_task(read(), name="changes of a page"), loop.time()
    try:
        while True:
            try:
                async with asyncio.timeout(QUIET_S):
                    await seen.wait()
            except TimeoutError:
                yield ": alive\n\n"
                continue
            if reading.done():
                await reading
                return
            await asyncio.sleep(max(0.0, next_at - loop.time()))
            seen.clear()
            yield "event: changed\ndata: {}\n\n"
            next_at = loop.time() + every
    finally:
        reading.cancel()
