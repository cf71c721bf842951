"""Path of nodes' certificates."""

from __future__ import annotations

from fastapi import APIRouter

from littoral_cloud.api.rest.access import HereDep, needs
from littoral_cloud.commands import certificates
from littoral_cloud.commands.certificates import Certificates

router = APIRouter(prefix="/certificates", tags=["certificates"])


@router.get("", **needs(certificates.late))
async def late(here: HereDep) -> Certificates:
    return await certificates.late(here.office, here.caller)
