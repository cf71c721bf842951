"""Paths of join tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fastapi import APIRouter, Response

from littoral_cloud.api.rest.access import HereDep, needs
from littoral_cloud.api.rest.paging import AfterQuery, LimitQuery
from littoral_cloud.commands import tokens
from littoral_cloud.commands.paging import Page
from littoral_cloud.commands.tokens import JoinTokenShown, NewJoinToken, RevokedToken

router = APIRouter(prefix="/tokens", tags=["tokens"])


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinTokenRequest:
    name: str = ""
    ttl_s: float = 86_400.0
    uses: int = 1
    labels: Mapping[str, str] = field(default_factory=dict)
    ask: bool = False  # nodes that are not expected wait for an operator
    address: str = ""  # of the enrolment listener, as nodes reach it; empty: the one that the coordinator knows


@router.post("", status_code=201, **needs(tokens.create))
async def create(here: HereDep, request: JoinTokenRequest, response: Response) -> NewJoinToken:
    response.headers["cache-control"] = "no-store"
    return await tokens.create(
        here.office,
        here.caller,
        name=request.name,
        ttl_s=request.ttl_s,
        uses=request.uses,
        labels=request.labels,
        address=request.address,
        ask=request.ask,
    )


@router.get("", **needs(tokens.page))
async def page(here: HereDep, after: AfterQuery = "", limit: LimitQuery = 50) -> Page[JoinTokenShown]:
    return await tokens.page(here.office, here.caller, after=after, limit=limit)


@router.delete("/{token}", **needs(tokens.revoke))
async def revoke(here: HereDep, token: str) -> RevokedToken:
    return await tokens.revoke(here.office, here.caller, token=token)
