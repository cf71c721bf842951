"""Paths of rollouts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Response

from littoral_cloud.api.rest.access import HereDep, needs
from littoral_cloud.api.rest.paging import AfterQuery, LimitQuery
from littoral_cloud.api.rest.preconditions import IfMatchDep, set_etag
from littoral_cloud.commands import rollout_views, rollouts
from littoral_cloud.commands.paging import Page
from littoral_cloud.commands.rollout_request import RolloutRequest
from littoral_cloud.commands.rollout_views import ExplainedRollout, KnownGate, RolloutDetail, RolloutProgress, RolloutShown
from littoral_cloud.commands.rollouts import PreviewedRollout, StartedRollout

router = APIRouter(prefix="/rollouts", tags=["rollouts"])


@router.get("", **needs(rollout_views.page))
async def page(
    here: HereDep, model: str = "", newest_first: bool = False, after: AfterQuery = "", limit: LimitQuery = 50
) -> Page[RolloutShown]:
    return await rollout_views.page(here.office, here.caller, model=model, newest_first=newest_first, after=after, limit=limit)


@router.post("", status_code=201, **needs(rollouts.start))
async def start(here: HereDep, request: RolloutRequest) -> StartedRollout:
    return await rollouts.start(here.office, here.caller, request=request)


@router.post("/preview", **needs(rollouts.preview))
async def preview(here: HereDep, request: RolloutRequest) -> PreviewedRollout:
    return await rollouts.preview(here.office, here.caller, request=request)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackRequest:
    """`to`: a release's id; empty: the last one that passed its rollout."""

    model: str
    to: str = ""


@router.post("/back", status_code=201, **needs(rollouts.back))
async def back(here: HereDep, request: BackRequest) -> StartedRollout:
    return await rollouts.back(here.office, here.caller, model=request.model, to=request.to)


@router.get("/gates", **needs(rollout_views.gates))
async def gates(here: HereDep) -> tuple[KnownGate, ...]:
    return await rollout_views.gates(here.office, here.caller)


@router.get("/{rollout_id}", **needs(rollout_views.show))
async def show(
    here: HereDep,
    response: Response,
    rollout_id: str,
    after: Annotated[str, Query(description="The nodes behind this node id")] = "",
    limit: Annotated[int, Query(ge=1, le=10_000, description="Of nodes")] = 500,
) -> RolloutDetail:
    found = await rollout_views.show(here.office, here.caller, rollout_id=rollout_id, after=after, limit=limit)
    set_etag(response, found.generation)
    return found


@router.get("/{rollout_id}/explanation", **needs(rollout_views.explain))
async def explain(here: HereDep, rollout_id: str) -> ExplainedRollout:
    return await rollout_views.explain(here.office, here.caller, rollout_id=rollout_id)


@router.get("/{rollout_id}/progress", **needs(rollout_views.progress))
async def progress(here: HereDep, rollout_id: str) -> RolloutProgress:
    return await rollout_views.progress(here.office, here.caller, rollout_id=rollout_id)


@router.post("/{rollout_id}/abort", status_code=204, **needs(rollouts.abort))
async def abort(here: HereDep, rollout_id: str, expected: IfMatchDep) -> None:
    await rollouts.abort(here.office, here.caller, rollout_id=rollout_id, expected=expected)


@router.post("/{rollout_id}/pause", status_code=204, **needs(rollouts.pause))
async def pause(here: HereDep, rollout_id: str, expected: IfMatchDep) -> None:
    await rollouts.pause(here.office, here.caller, rollout_id=rollout_id, expected=expected)


@router.post("/{rollout_id}/resume", status_code=204, **needs(rollouts.resume))
async def resume(here: HereDep, rollout_id: str, expected: IfMatchDep) -> None:
    await rollouts.resume(here.office, here.caller, rollout_id=rollout_id, expected=expected)


@router.post("/{rollout_id}/approve", status_code=204, **needs(rollouts.approve))
async def approve(here: HereDep, rollout_id: str, expected: IfMatchDep) -> None:
    await rollouts.approve(here.office, here.caller, rollout_id=rollout_id, expected=expected)


@router.post("/{rollout_id}/promote", status_code=204, **needs(rollouts.promote))
async def promote(here: HereDep, rollout_id: str, expected: IfMatchDep) -> None:
    await rollouts.promote(here.office, here.caller, rollout_id=rollout_id, expected=expected)
