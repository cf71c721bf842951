"""Paths of artifacts."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from littoral_cloud.api.rest.access import HereDep, needs
from littoral_cloud.api.rest.paging import AfterQuery, LimitQuery
from littoral_cloud.commands import artifacts, bundles, importing, publishing
from littoral_cloud.commands.artifacts import (
    ArtifactDifferences,
    ArtifactStory,
    CheckedArtifact,
    CollectionShown,
    HowToAsk,
    SignedAgain,
)
from littoral_cloud.commands.importing import ImportedModel, ImportRequest
from littoral_cloud.commands.paging import Page
from littoral_cloud.commands.publishing import PublishedArtifact, PublishRequest, TeacherRequest
from littoral_cloud.fleet.records import Artifact

router = APIRouter(prefix="/artifacts", tags=["artifacts"])

DAY_S = 86_400.0

_TAR = {"application/x-tar": {"schema": {"type": "string", "format": "binary"}}}
_BUNDLE = {**needs(bundles.export), "responses": {200: {"description": "A tar archive.", "content": _TAR}}}


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectRequest:
    """`older_than_s`: younger artifacts and blobs stay; at least 600."""

    older_than_s: float = DAY_S
    dry_run: bool = False


@router.get("", **needs(artifacts.page))
async def page(
    here: HereDep, model: str = "", newest_first: bool = False, after: AfterQuery = "", limit: LimitQuery = 50
) -> Page[Artifact]:
    return await artifacts.page(here.office, here.caller, model=model, newest_first=newest_first, after=after, limit=limit)


@router.post("", status_code=201, **needs(publishing.publish))
async def publish(here: HereDep, request: PublishRequest) -> PublishedArtifact:
    return await publishing.publish(here.office, here.caller, request=request)


@router.post("/import", status_code=201, **needs(importing.import_))
async def import_(here: HereDep, request: ImportRequest) -> ImportedModel:
    return await importing.import_(here.office, here.caller, request=request)


@router.post("/teachers", status_code=204, **needs(publishing.keep_teacher))
async def keep_teacher(here: HereDep, request: TeacherRequest) -> None:
    await publishing.keep_teacher(here.office, here.caller, request=request)


@router.post("/collect", **needs(artifacts.collected))
async def collect(here: HereDep, request: CollectRequest) -> CollectionShown:
    return await artifacts.collected(here.office, here.caller, older_than_s=request.older_than_s, dry_run=request.dry_run)


@router.get("/{artifact}", **needs(artifacts.show))
async def show(here: HereDep, artifact: str) -> ArtifactStory:
    return await artifacts.show(here.office, here.caller, artifact=artifact)


@router.get("/{artifact}/bundle", response_class=StreamingResponse, **_BUNDLE)
async def bundle(here: HereDep, artifact: str) -> StreamingResponse:
    found = await bundles.export(here.office, here.caller, artifact=artifact)
    headers = {
        "content-length": str(found.total_bytes),
        "content-disposition": f"attachment; filename*=UTF-8''{quote(found.name)}",
        "x-artifact": found.digest,
    }
    return StreamingResponse(found.chunks, media_type="application/x-tar", headers=headers)


@router.get("/{artifact}/diff/{other}", **needs(artifacts.diff))
async def diff(here: HereDep, artifact: str, other: str) -> ArtifactDifferences:
    return await artifacts.diff(here.office, here.caller, before=artifact, after=other)


@router.post("/{artifact}/sign-again", status_code=201, **needs(artifacts.signed_again))
async def sign_again(here: HereDep, artifact: str) -> SignedAgain:
    return await artifacts.signed_again(here.office, here.caller, artifact=artifact)


@router.post("/{artifact}/check", **needs(artifacts.check))
async def check(here: HereDep, artifact: str) -> CheckedArtifact:
    return await artifacts.check(here.office, here.caller, artifact=artifact)


@router.get("/{artifact}/how-to-ask", **needs(artifacts.asking))
async def asking(here: HereDep, artifact: str, http: str = "127.0.0.1:8080", grpc: str = "", folder: str = "") -> HowToAsk:
    return await artifacts.asking(here.office, here.caller, artifact=artifact, http=http, grpc=grpc, folder=folder)
