"""Paths of releases."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter

from littoral_cloud.api.rest.access import HereDep, needs
from littoral_cloud.api.rest.paging import AfterQuery, LimitQuery
from littoral_cloud.commands import releases
from littoral_cloud.commands.paging import Page
from littoral_cloud.commands.releases import ReleaseDetail, ReleaseRequest, WithdrawnRelease
from littoral_cloud.fleet.records import Release

router = APIRouter(prefix="/releases", tags=["releases"])


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawRequest:
    why: str


@router.get("", **needs(releases.page))
async def page(
    here: HereDep, model: str = "", newest_first: bool = False, after: AfterQuery = "", limit: LimitQuery = 50
) -> Page[Release]:
    return await releases.page(here.office, here.caller, model=model, newest_first=newest_first, after=after, limit=limit)


@router.post("", status_code=201, **needs(releases.create))
async def create(here: HereDep, request: ReleaseRequest) -> ReleaseDetail:
    return await releases.create(here.office, here.caller, request=request)


@router.get("/{release}", **needs(releases.show))
async def show(here: HereDep, release: str) -> ReleaseDetail:
    return await releases.show(here.office, here.caller, release=release)


@router.post("/{release}/withdraw", **needs(releases.withdraw))
async def withdraw(here: HereDep, release: str, request: WithdrawRequest) -> WithdrawnRelease:
    return await releases.withdraw(here.office, here.caller, release=release, why=request.why)
