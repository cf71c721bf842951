"""Paths of files on their way up. A body is a stream: it is never whole in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.requests import ClientDisconnect

from littoral_cloud.api.rest.access import HereDep, needs
from littoral_cloud.commands import uploads
from littoral_cloud.commands.uploads import UploadState

router = APIRouter(prefix="/uploads", tags=["uploads"])

SILENCE_S = 60.0
"""An upload that sends nothing for this long is ended; the bytes that came stay stored."""

_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.get("/{digest}", **needs(uploads.state))
async def state(here: HereDep, digest: str) -> UploadState:
    return await uploads.state(here.office, here.caller, digest=digest)


_PUT = needs(uploads.put)
_PUT["openapi_extra"] |= _BODY


@router.put("/{digest}", **_PUT)
async def put(
    here: HereDep,
    request: Request,
    digest: str,
    total_bytes: Annotated[int, Query(ge=0, description="Of the whole file.")],
    offset: Annotated[int, Query(ge=0, description="Where the body begins: `stored_bytes` of what is here.")] = 0,
) -> UploadState:
    return await uploads.put(
        here.office, here.caller, digest=digest, total_bytes=total_bytes, offset=offset, parts=_parts(request)
    )


async def _parts(request: Request) -> AsyncIterator[bytes]:
    """What comes until the end, until the caller is gone, or until nothing has come for SILENCE_S."""
    stream = request.stream()
    with suppress(StopAsyncIteration, ClientDisconnect, TimeoutError):
        while True:
            async with asyncio.timeout(SILENCE_S):
                part = await anext(stream)
            yield part
