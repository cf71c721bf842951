"""Paths of rollouts."""

from __future__ import annotations

from fastapi import APIRouter

from littoral_cloud.api.rest.access import HereDep, needs
from littoral_cloud.api.rest.preconditions import IfMatchDep
from littoral_cloud.commands import rollouts

router = APIRouter(prefix="/rollouts", tags=["rollouts"])


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
