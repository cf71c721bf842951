"""Paths of browser sessions."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter

from littoral_cloud.api.rest.access import HereDep, needs
from littoral_cloud.commands import sessions
from littoral_cloud.commands.sessions import NewSignInLink
from littoral_cloud.trust.web_sessions import LINK_S

router = APIRouter(tags=["operators"])


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInLinkRequest:
    ttl_s: float = LINK_S


@router.post("/sign-in-links", status_code=201, **needs(sessions.link))
async def link(here: HereDep, request: SignInLinkRequest) -> NewSignInLink:
    return await sessions.link(here.office, here.caller, ttl_s=request.ttl_s)
