"""Releases without any training: two students that differ in accuracy and in bytes; one student of a model of any name."""

from __future__ import annotations

from pathlib import Path

from littoral_cloud.app import Core
from littoral_cloud.fleet.records import Artifact, Release
from littoral_cloud.packaging.package import Packaged
from littoral_cloud.releases.catalogue import create_release, publish
from tests.kit.models import artifact

BEST, CHEAP = "best", "cheap"


async def two_students(core: Core, folder: Path) -> tuple[Artifact, Artifact, Release]:
    """(the accurate one, for onnxruntime; the smaller one, for ncnn; their release)."""
    made = []
    for name, runtime, accuracy in ((BEST, "onnxruntime", 0.99), (CHEAP, "ncnn", 0.9)):
        manifest = artifact(folder / name, runtime, name=name, accuracy=accuracy)
        files = {file.path: (folder / name / file.path).read_bytes() for file in manifest.files}
        made.append(await publish(core, Packaged(manifest, files), core.clock()))
    best, cheap = made
    assert cheap.artifact_bytes < best.artifact_bytes
    return best, cheap, await create_release(core.ledger, "tiny", [a.manifest_digest for a in made], "manual", "", core.clock())


async def one_student(core: Core, folder: Path, model: str) -> Release:
    manifest = artifact(folder / model, model=model)
    files = {file.path: (folder / model / file.path).read_bytes() for file in manifest.files}
    made = await publish(core, Packaged(manifest, files), core.clock())
    return await create_release(core.ledger, model, [made.manifest_digest], "manual", "", core.clock())
