"""Paths of cohorts."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter

from littoral_cloud.api.rest.access import HereDep, needs
from littoral_cloud.api.rest.paging import AfterQuery, LimitQuery
from littoral_cloud.commands import cohorts
from littoral_cloud.commands.cohorts import CohortShown, SavedCohort
from littoral_cloud.commands.paging import Page
from littoral_cloud.fleet.cohorts import Cohort

router = APIRouter(prefix="/cohorts", tags=["cohorts"])


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortRequest:
    where: str


@router.get("", **needs(cohorts.page))
async def page(here: HereDep, after: AfterQuery = "", limit: LimitQuery = 50) -> Page[Cohort]:
    return await cohorts.page(here.office, here.caller, after=after, limit=limit)


@router.get("/{name}", **needs(cohorts.show))
async def show(here: HereDep, name: str) -> CohortShown:
    return await cohorts.show(here.office, here.caller, name=name)


@router.put("/{name}", **needs(cohorts.save))
async def save(here: HereDep, name: str, request: CohortRequest) -> SavedCohort:
    return await cohorts.save(here.office, here.caller, name=name, where=request.where)


@router.delete("/{name}", status_code=204, **needs(cohorts.delete))
async def delete(here: HereDep, name: str) -> None:
    await cohorts.delete(here.office, here.caller, name=name)
