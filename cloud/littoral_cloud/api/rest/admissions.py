"""Paths of who is in the fleet."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter

from littoral_cloud.api.rest.access import HereDep, needs
from littoral_cloud.commands import admissions
from littoral_cloud.commands.admissions import ImportedFleet
from littoral_cloud.commands.nodes import NodeShown

router = APIRouter(prefix="/nodes", tags=["nodes"])


@router.post("/{node}/accept", **needs(admissions.accept))
async def accept(here: HereDep, node: str) -> NodeShown:
    return await admissions.accept(here.office, here.caller, node=node)


@router.post("/{node}/reject", **needs(admissions.reject))
async def reject(here: HereDep, node: str) -> NodeShown:
    return await admissions.reject(here.office, here.caller, node=node)


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeRequest:
    reason: str = ""  # for the audit trail


@router.post("/{node}/revoke", **needs(admissions.revoke))
async def revoke(here: HereDep, node: str, request: RevokeRequest) -> NodeShown:
    return await admissions.revoke(here.office, here.caller, node=node, reason=request.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceRequest:
    by: str  # name or id of the node that takes its place


@router.post("/{node}/replace", **needs(admissions.replace))
async def replace(here: HereDep, node: str, request: ReplaceRequest) -> NodeShown:
    return await admissions.replace(here.office, here.caller, node=node, by=request.by)


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetRequest:
    csv: str  # a header like hardware_id,name,site and a line for each machine


@router.post("/import", **needs(admissions.import_fleet))
async def import_fleet(here: HereDep, request: FleetRequest) -> ImportedFleet:
    return await admissions.import_fleet(here.office, here.caller, text=request.csv)
