"""Paths of operators and their tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fastapi import APIRouter, Response

from littoral_cloud.api.rest.access import HereDep, needs
from littoral_cloud.api.rest.paging import AfterQuery, LimitQuery
from littoral_cloud.commands import operators
from littoral_cloud.commands.operators import NewOperatorToken, OperatorTokenShown, RenewedOperatorToken, WhoAmI
from littoral_cloud.commands.paging import Page
from littoral_cloud.trust.people import Role

router = APIRouter(tags=["operators"])

DAY_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorTokenRequest:
    name: str
    role: Role = Role.VIEWER
    labels: Mapping[str, str] = field(default_factory=dict)
    models: tuple[str, ...] = ()
    ttl_s: float = 90 * DAY_S


@router.get("/whoami", **needs(operators.whoami))
async def whoami(here: HereDep) -> WhoAmI:
    return await operators.whoami(here.office, here.caller)


@router.get("/operator-tokens", **needs(operators.page))
async def page(here: HereDep, after: AfterQuery = "", limit: LimitQuery = 50) -> Page[OperatorTokenShown]:
    return await operators.page(here.office, here.caller, after=after, limit=limit)


@router.post("/operator-tokens", status_code=201, **needs(operators.create))
async def create(here: HereDep, request: OperatorTokenRequest, response: Response) -> NewOperatorToken:
    response.headers["cache-control"] = "no-store"  # a secret
    return await operators.create(
        here.office,
        here.caller,
        name=request.name,
        role=request.role,
        labels=request.labels,
        models=request.models,
        ttl_s=request.ttl_s,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewalRequest:
    ttl_s: float = 90 * DAY_S
    new_secret: bool = False


@router.post("/operator-tokens/{token}/renew", **needs(operators.renew))
async def renew(here: HereDep, token: str, request: RenewalRequest, response: Response) -> RenewedOperatorToken:
    response.headers["cache-control"] = "no-store"
    return await operators.renew(here.office, here.caller, token=token, ttl_s=request.ttl_s, new_secret=request.new_secret)


@router.delete("/operator-tokens/{token}", **needs(operators.revoke))
async def revoke(here: HereDep, token: str) -> OperatorTokenShown:
    return await operators.revoke(here.office, here.caller, token=token)
