"""Paths of the fleet as a whole: the overview, and drift."""

from __future__ import annotations

from fastapi import APIRouter

from littoral_cloud.api.rest.access import HereDep, needs
from littoral_cloud.api.rest.paging import AfterQuery, LimitQuery
from littoral_cloud.commands import drift, overview
from littoral_cloud.commands.drift import DriftOfSite, DriftShown
from littoral_cloud.commands.overview import OverviewShown
from littoral_cloud.commands.paging import Page

router = APIRouter(tags=["fleet"])


@router.get("/overview", **needs(overview.show))
async def show(here: HereDep) -> OverviewShown:
    return await overview.show(here.office, here.caller)


@router.get("/drift", **needs(drift.page))
async def page(
    here: HereDep, model: str = "", drifted: bool = False, after: AfterQuery = "", limit: LimitQuery = 50
) -> Page[DriftShown]:
    return await drift.page(here.office, here.caller, model=model, drifted=drifted, after=after, limit=limit)


@router.get("/drift/by-site", **needs(drift.by_site))
async def by_site(here: HereDep, label: str = "site") -> tuple[DriftOfSite, ...]:
    return await drift.by_site(here.office, here.caller, label=label)


@router.get("/nodes/{node}/drift", **needs(drift.of_node))
async def of_node(here: HereDep, node: str) -> tuple[DriftShown, ...]:
    return await drift.of_node(here.office, here.caller, node=node)
