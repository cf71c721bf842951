"""Paths of samples."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from littoral_cloud.api.rest.access import HereDep, needs
from littoral_cloud.api.rest.audit import JSON_LINES
from littoral_cloud.commands import samples

router = APIRouter(prefix="/samples", tags=["samples"])

MOST = 1_000_000


@router.get(
    "",
    response_class=StreamingResponse,
    responses={200: {"content": {JSON_LINES: {"schema": {"type": "string"}}}}},
    **needs(samples.newest),
)
async def newest(
    here: HereDep,
    model: str = "",
    node: str = "",
    disagree: bool = False,
    last: Annotated[int, Query(ge=1, le=MOST, description="At most this many.")] = 100,
) -> StreamingResponse:
    found = await samples.newest(here.office, here.caller, model=model, node=node, disagree=disagree, last=last)
    return StreamingResponse(_json_lines(found), media_type=JSON_LINES)


def _json_lines(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for sample in found:
        yield json.dumps(sample) + "\n"
