"""Paths of the fleet's CA, signing key and store of blobs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter

from littoral_cloud.api.rest.access import HereDep, needs
from littoral_cloud.commands import fleet_identity
from littoral_cloud.commands.fleet_identity import AdoptedIdentity, FleetKeys, NextKey, RetiredKey
from littoral_cloud.trust.given_keys import GivenCa

router = APIRouter(prefix="/fleet", tags=["fleet"])

WEEK_S = 7 * 86_400.0


@router.get("", **needs(fleet_identity.show))
async def show(here: HereDep) -> FleetKeys:
    return await fleet_identity.show(here.office, here.caller)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptRequest:
    confirmed: bool = False


@router.post("/adopt", **needs(fleet_identity.adopt))
async def adopt(here: HereDep, request: AdoptRequest) -> AdoptedIdentity:
    return await fleet_identity.adopt(here.office, here.caller, confirmed=request.confirmed)


@dataclass(frozen=True, slots=True, kw_only=True)
class NextCaRequest:
    """Files are paths on the coordinator's machine, for its own user alone; empty: none. `replaces`: one that is introduced, and
    not in force yet."""

    overlap_s: float = WEEK_S
    certificate: str = ""
    key: str = ""
    public_key: str = ""
    replaces: bool = False


@router.post("/next-ca", status_code=201, **needs(fleet_identity.renew_ca))
async def renew_ca(here: HereDep, request: NextCaRequest) -> NextKey:
    given = GivenCa(certificate=_path(request.certificate), key=_path(request.key), public_key=_path(request.public_key))
    return await fleet_identity.renew_ca(
        here.office, here.caller, overlap_s=request.overlap_s, given=given, replaces=request.replaces
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NextSigningKeyRequest:
    overlap_s: float = WEEK_S
    public_key: str = ""
    replaces: bool = False


@router.post("/next-signing-key", status_code=201, **needs(fleet_identity.renew_signing_key))
async def renew_signing_key(here: HereDep, request: NextSigningKeyRequest) -> NextKey:
    public_key, replaces = _path(request.public_key), request.replaces
    return await fleet_identity.renew_signing_key(
        here.office, here.caller, overlap_s=request.overlap_s, public_key=public_key, replaces=replaces
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RetirementRequest:
    confirmed: bool = False


@router.post("/signing-keys/{key}/retire", **needs(fleet_identity.retire_signing_key))
async def retire_signing_key(here: HereDep, key: str, request: RetirementRequest) -> RetiredKey:
    return await fleet_identity.retire_signing_key(here.office, here.caller, key=key, confirmed=request.confirmed)


def _path(text: str) -> Path | None:
    return Path(text) if text else None
