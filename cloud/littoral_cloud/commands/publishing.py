"""Use cases that take artifacts which were made elsewhere: each is tested here as a node tests it, then signed (decision 26)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, ClassVar

from littoral.errors import BadInput, RuntimeFailure
from littoral.manifest import MAX_MANIFEST_BYTES, Manifest
from littoral.measuring import ABSENT, Measurer
from littoral_cloud.commands.uploads import needs_whole
from littoral_cloud.commands.use_case import Office, use_case
from littoral_cloud.fleet.records import Artifact
from littoral_cloud.fleet.telemetry import check_model_name
from littoral_cloud.packaging.trial import tried_from
from littoral_cloud.releases.catalogue import sign
from littoral_cloud.releases.teacher_records import StoredTeacher, keep
from littoral_cloud.trust.people import Caller, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishRequest:
    """Digests of files that were uploaded.

    Attributes:
        manifest: canonical JSON, not signed.
        weights: the safetensors file that it was exported from, for federated runs; empty: none.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    manifest: str
    weights: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedArtifact:
    """`untested`: why it was not tested as a node would; empty: it was."""

    artifact: Artifact
    untested: str = ""


@use_case("artifact.publish", Role.OPERATOR)
async def publish(office: Office, caller: Caller, *, request: PublishRequest) -> PublishedArtifact:
    """Tests an artifact as a node does, signs it, and makes it known. Its files were uploaded before.

    Raises BadManifest; BadInput where a file is not here; RuntimeFailure, with the node's code, where a node would refuse it.
    """
    manifest = await asyncio.to_thread(_manifest, office, request)
    caller.needs_model(check_model_name(manifest.model, "manifest.model"))
    untested = await tested(office, manifest)
    artifact = await sign(office.core, manifest, office.core.clock(), weights=request.weights, actor=caller.name)
    return PublishedArtifact(artifact=artifact, untested=untested)


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherRequest:
    """`teacher`: its weights were uploaded. `digest`: under which its students' manifests name it."""

    digest: str
    teacher: StoredTeacher


@use_case("teacher.keep", Role.OPERATOR)
async def keep_teacher(office: Office, caller: Caller, *, request: TeacherRequest) -> None:
    """Keeps the teacher of students that were made elsewhere: it answers what a node is not sure of."""
    for voice in request.teacher.voices:
        await asyncio.to_thread(needs_whole, office, "teacher.voices", voice.weights)
    await keep(office.core.ledger, request.digest, request.teacher)


def _manifest(office: Office, request: PublishRequest) -> Manifest:
    needs_whole(office, "manifest", request.manifest)
    path = office.core.blobs.path(request.manifest)
    if path.stat().st_size > MAX_MANIFEST_BYTES:
        raise BadInput(f"manifest: is longer than {MAX_MANIFEST_BYTES:,} bytes")
    manifest = Manifest.decode(path.read_bytes())
    for file in manifest.files:
        needs_whole(office, f"manifest.files: {file.path}", file.digest, file.bytes)
        if file.transfer is not None:
            needs_whole(office, f"manifest.files: {file.path}, as it travels", file.transfer.digest, file.transfer.bytes)
    if request.weights:
        needs_whole(office, "weights", request.weights)
    return manifest


async def tested(office: Office, manifest: Manifest) -> str:
    """Why it was not tested; "": it was, and a node takes it. One at a time: a trial takes a processor."""
    async with office.heavy:
        measurer = Measurer(1, None)
        try:
            result = await tried_from(manifest, office.core.blobs.path, measurer)
        finally:
            measurer.end()
    if result.failure == ABSENT:
        return f"{manifest.runtime} is not here"
    if result.failure:
        raise RuntimeFailure.with_code(result.failure, f"a node refuses {manifest.name}: {result.failure}: {result.detail}")
    return ""
