"""Paths of nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query

from littoral_cloud.api.rest.access import HereDep, needs
from littoral_cloud.api.rest.paging import AfterQuery, LimitQuery
from littoral_cloud.commands import candidates, nodes
from littoral_cloud.commands.candidates import ModelOnNode
from littoral_cloud.commands.nodes import NodeFilter, NodeOrder, NodePage, NodeShown
from littoral_cloud.fleet.labels import labels_from

router = APIRouter(prefix="/nodes", tags=["nodes"])


@router.get("", **needs(nodes.page))
async def page(
    here: HereDep,
    label: Annotated[list[str], Query(description="KEY=VALUE (repeatable)")] = [],  # noqa: B006
    state: str = "",
    model: str = "",
    text: Annotated[str, Query(description="Of its name or id, in any case")] = "",
    order: NodeOrder = NodeOrder.NAME,
    after: AfterQuery = "",
    limit: LimitQuery = 50,
) -> NodePage:
    which = NodeFilter(labels=labels_from(label), state=state, model=model, text=text)
    return await nodes.page(here.office, here.caller, which=which, after=after, limit=limit, order=order)


@router.get("/{node}", **needs(nodes.show))
async def show(here: HereDep, node: str) -> NodeShown:
    return await nodes.show(here.office, here.caller, node=node)


@router.get("/{node}/candidates", **needs(candidates.explain))
async def explain(here: HereDep, node: str, model: str = "") -> Mapping[str, ModelOnNode]:
    return await candidates.explain(here.office, here.caller, node=node, model=model)


@router.post("/{node}/decommission", **needs(nodes.decommission))
async def decommission(here: HereDep, node: str) -> NodeShown:
    return await nodes.decommission(here.office, here.caller, node=node)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantineRequest:
    reason: str = "by hand"
    hours: float | None = None  # none: until an operator ends it


@router.post("/{node}/quarantine", **needs(nodes.quarantine))
async def quarantine(here: HereDep, node: str, request: QuarantineRequest) -> NodeShown:
    lasts_s = None if request.hours is None else request.hours * 3_600
    return await nodes.quarantine(here.office, here.caller, node=node, reason=request.reason, lasts_s=lasts_s)


@router.delete("/{node}/quarantine", **needs(nodes.end_quarantine))
async def end_quarantine(here: HereDep, node: str) -> NodeShown:
    return await nodes.end_quarantine(here.office, here.caller, node=node)
