"""Paths of browser sessions."""

from __future__ import annotations

from fastapi import APIRouter

from littoral_cloud.api.rest.access import HereDep, needs
from littoral_cloud.commands import sessions
from littoral_cloud.commands.sessions import NewSignInLink

router = APIRouter(tags=["operators"])


@router.post("/sign-in-links", status_code=201, **needs(sessions.link))
async def link(here: HereDep) -> NewSignInLink:
    return await sessions.link(here.office, here.caller)
