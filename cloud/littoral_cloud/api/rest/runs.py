"""Paths of federated runs."""

from __future__ import annotations

from dataclasses import dataclass, field

from fastapi import APIRouter

from littoral_cloud.api.rest.access import HereDep, needs
from littoral_cloud.api.rest.paging import AfterQuery, LimitQuery
from littoral_cloud.commands import runs
from littoral_cloud.commands.paging import Page
from littoral_cloud.commands.runs import RunShown
from littoral_cloud.federation.making import MadeRelease
from littoral_cloud.federation.terms import RunTerms

router = APIRouter(prefix="/runs", tags=["runs"])


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """`nodes`, `for_nodes`: names or ids."""

    model: str
    terms: RunTerms = field(default_factory=RunTerms)
    artifact: str = ""
    nodes: tuple[str, ...] = ()
    for_nodes: tuple[str, ...] = ()


@router.post("", status_code=201, **needs(runs.start))
async def start(here: HereDep, request: RunRequest) -> RunShown:
    return await runs.start(
        here.office,
        here.caller,
        model=request.model,
        terms=request.terms,
        artifact=request.artifact,
        nodes=request.nodes,
        for_nodes=request.for_nodes,
    )


@router.get("", **needs(runs.page))
async def page(here: HereDep, after: AfterQuery = "", limit: LimitQuery = 50) -> Page[RunShown]:
    return await runs.page(here.office, here.caller, after=after, limit=limit)


@router.get("/{run_id}", **needs(runs.show))
async def show(here: HereDep, run_id: str) -> RunShown:
    return await runs.show(here.office, here.caller, run_id=run_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseOfRunRequest:
    worse_too: bool = False


@router.post("/{run_id}/release", status_code=201, **needs(runs.release))
async def release(here: HereDep, run_id: str, request: ReleaseOfRunRequest) -> MadeRelease:
    return await runs.release(here.office, here.caller, run_id=run_id, worse_too=request.worse_too)


@router.post("/{run_id}/stop", **needs(runs.stop))
async def stop(here: HereDep, run_id: str) -> RunShown:
    return await runs.stop(here.office, here.caller, run_id=run_id)
