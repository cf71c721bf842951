"""Drift, by model and site, and node by node."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response

from littoral_cloud.api.rest.access import needs
from littoral_cloud.commands import drift
from littoral_cloud.web.render import with_query
from littoral_cloud.web.visitor import VisitorDep

router = APIRouter(prefix="/drift", include_in_schema=False)

ROWS = 50


@router.get("", **needs(drift.page))
async def shown(
    visitor: VisitorDep,
    label: Annotated[str, Query(max_length=60)] = "site",
    model: Annotated[str, Query(max_length=100)] = "",
    only: Annotated[str, Query(max_length=10)] = "",
    after: Annotated[str, Query(max_length=300)] = "",
) -> Response:
    office, caller = visitor.office, visitor.caller
    found = await drift.page(office, caller, model=model.strip(), drifted=only == "drifted", after=after, limit=ROWS)
    given = {"label": label, "model": model, "only": only}
    return visitor.page(
        "drift.html",
        page=found,
        sites=await drift.by_site(office, caller, label=label.strip()),
        given=given,
        choices=(("", "Every node"), ("drifted", "Only those that drifted")),
        first=with_query("/drift", given) if after else "",
        next=with_query("/drift", given, after=found.next) if found.next else "",
    )
