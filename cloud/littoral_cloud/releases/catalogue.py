"""From packaged candidates to signed artifacts, and from artifacts to a release: what may go out together.

An artifact is signed once and never changes; its name is the digest of the signed manifest. Signing and putting blobs is
repeatable: the same candidate gives the same digest. A release is only a list of artifacts of one model.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from littoral.codec import feature_of
from littoral.digest import digest_of
from littoral.errors import BadInput, NotFound
from littoral.manifest import Manifest
from littoral_cloud.fleet.blobs import BlobStore
from littoral_cloud.fleet.edit import edit, repeat_on_conflict
from littoral_cloud.fleet.interface import interface_of
from littoral_cloud.fleet.ledger import Audit, Change, Ledger, Write
from littoral_cloud.fleet.records import Artifact, Release, dump, load

KINDS = ("initial", "federated", "manual")


class SigningTrust(Protocol):
    """What is needed of littoral_cloud.trust.store.Trust."""

    @property
    def signing_key(self) -> Any: ...  # Ed25519PrivateKey


class PublishingCore(Protocol):
    """What is needed of littoral_cloud.app.Core."""

    @property
    def ledger(self) -> Ledger: ...
    @property
    def blobs(self) -> BlobStore: ...
    @property
    def trust(self) -> SigningTrust: ...


class PackagedArtifact(Protocol):
    """What is needed of littoral_cloud.packaging.package.Packaged."""

    @property
    def manifest(self) -> Manifest: ...
    @property
    def files(self) -> Mapping[str, bytes]: ...
    @property
    def coded(self) -> Mapping[str, bytes]: ...


async def publish(
    core: PublishingCore, packaged: PackagedArtifact, now: float, *, weights: bytes = b"", data: str = "", actor: str = "factory"
) -> Artifact:
    """Puts the files and the signed manifest where nodes fetch them, and makes the artifact known.

    Args:
        packaged: with the bytes of every file that its manifest names.
        weights: safetensors bytes that it was exported from: a federated run can go on from them. Empty: none are stored.
        data: where the data set lies on this machine, for what will be made from those weights.

    Raises BadInput where a file's bytes are not what the manifest says. Publishing the same again only adds
    weights and data set where they were not known.
    """
    manifest = packaged.manifest
    for file in manifest.files:
        if (content := packaged.files.get(file.path)) is None:
            raise BadInput(f"artifact {manifest.name}: the bytes of {file.path} are missing")
        if digest_of(content) != file.digest or len(content) != file.bytes:
            raise BadInput(f"artifact {manifest.name}: {file.path} is not what the manifest says")
        core.blobs.put(content)  # also where a coded blob travels: the coordinator reads it, and agents from before fetch it
        if file.transfer is not None:
            coded = packaged.coded.get(file.path, b"")
            if digest_of(coded) != file.transfer.digest or len(coded) != file.transfer.bytes:
                raise BadInput(f"artifact {manifest.name}: what travels for {file.path} is not what the manifest says")
            core.blobs.put(coded)
    stored = core.blobs.put(weights) if weights else ""
    return await sign(core, manifest, now, weights=stored, data=data, actor=actor)


async def sign(
    core: PublishingCore, manifest: Manifest, now: float, *, weights: str = "", data: str = "", actor: str = "factory"
) -> Artifact:
    """Signs the manifest of files that are blobs already, and makes the artifact known.

    Args:
        weights: digest of the blob that it was exported from; "": not stored.
        data: as of `publish`.
    """
    digest = core.blobs.put(await asyncio.to_thread(manifest.seal, core.trust.signing_key))  # a command may sign
    artifact = Artifact(
        manifest_digest=digest,
        model=manifest.model,
        name=manifest.name,
        runtime=manifest.runtime,
        accuracy=manifest.accuracy,
        artifact_bytes=manifest.artifact_bytes,
        parameters=manifest.parameters,
        architecture=manifest.architecture,
        parents=manifest.parents,
        class_accuracy=manifest.accuracy_by_label,
        remarks=manifest.remarks,
        task=manifest.task,
        metric=manifest.metric,
        requires=manifest.requires,
        needs=needs_of(manifest),
        interface=interface_of(manifest),
        created_at=now,
        weights=weights,
        data=data,
    )
    line = Audit(
        "artifact.signed",
        digest,
        actor,
        {"model": artifact.model, "name": artifact.name, **measured_of(artifact), "bytes": artifact.artifact_bytes},
    )
    edited = await edit(
        core.ledger,
        Artifact,
        "artifact",
        digest,
        lambda before: _completed(before, artifact) if before else artifact,
        lambda before, after: () if before else (line,),
    )
    assert edited.record is not None
    return edited.record


def needs_of(manifest: Manifest) -> tuple[str, ...]:
    """What a node must have to read what travels: littoral.codec.FEATURES."""
    needs = (feature_of(file.transfer.codec) for file in manifest.files if file.transfer is not None)
    return tuple(sorted({need for need in needs if need is not None}))


def measured_of(artifact: Artifact) -> dict[str, float]:
    """What it was measured to be worth: {"accuracy": ...}, or its metric by name; empty: that was never measured."""
    if artifact.metric:
        return {artifact.metric.name: artifact.metric.value}
    return {"accuracy": artifact.accuracy} if artifact.is_judged else {}


def _completed(before: Artifact, again: Artifact) -> Artifact:
    """What is known, and weights and data set where they were not."""
    return replace(before, weights=before.weights or again.weights, data=before.data or again.data)


async def create_release(
    ledger: Ledger,
    model: str,
    artifacts: Sequence[str],
    kind: str,
    note: str,
    now: float,
    *,
    run_id: str | None = None,
    actor: str = "operator",
) -> Release:
    """A release of artifacts that are known, called MODEL-NUMBER.

    Args:
        artifacts: manifest digests, of this model.
        kind: "initial", "federated" or "manual".
        note: for people.
        run_id: of the federated run that the artifacts were made from; None: of no run.

    Raises BadInput, or NotFound where an artifact is unknown.
    """
    if kind not in KINDS:
        raise BadInput(f"release.kind: {kind!r} is not known", hint=f"one of {', '.join(KINDS)}")
    if not artifacts:
        raise BadInput("release.artifacts: a release needs at least one")
    wanted = tuple(dict.fromkeys(artifacts))
    number = 1 + sum(release.model == model for release in await all_releases(ledger))

    async def attempt() -> Release:
        nonlocal number
        while await ledger.get("release", f"{model}-{number}") is not None:
            number += 1  # somebody else took this name
        await _check_judged_alike(ledger, model, wanted)
        unchanged = [await unchanged_artifact(ledger, digest) for digest in wanted]
        release = Release(
            release_id=f"{model}-{number}",
            model=model,
            kind=kind,
            artifacts=wanted,
            created_at=now,
            note=note,
            run_id=run_id,
        )
        line = Audit("release.created", release.release_id, actor, {"kind": kind, "artifacts": len(artifacts), "note": note})
        await ledger.commit(Change((Write("release", release.release_id, dump(release), 0), *unchanged), (line,)))
        return release

    return await repeat_on_conflict(attempt)


async def _check_judged_alike(ledger: Ledger, model: str, digests: Sequence[str]) -> None:
    """Raises BadInput where these artifacts are not of one model, one task and one metric; NotFound."""
    judged = {}
    for digest in digests:
        if (found := await read_artifact(ledger, digest)).model != model:
            raise BadInput(f"release.artifacts: {found.name} is of model {found.model!r}, not {model!r}")
        judged[found.task, found.metric.name if found.metric else "accuracy"] = found.name
    if len(judged) > 1:
        ways = ", ".join(f"{name} by {metric} of {task}" for (task, metric), name in judged.items())
        raise BadInput(f"release.artifacts: are judged in different ways: {ways}", hint="one task and one metric a release")


async def unchanged_artifact(ledger: Ledger, digest: str) -> Write:
    """An artifact unchanged, to be written together with the document that names it: a deletion at the same moment conflicts.

    Raises NotFound.
    """
    if (doc := await ledger.get("artifact", digest)) is None:
        raise unknown_artifact(digest)
    return Write("artifact", digest, doc.body, doc.generation)


async def release_of_run(ledger: Ledger, run_id: str) -> Release | None:
    return next((release for release in await all_releases(ledger) if release.run_id == run_id), None)


async def read_release(ledger: Ledger, release_id: str) -> Release:
    """Raises NotFound."""
    if (doc := await ledger.get("release", release_id)) is None:
        raise _no_release(release_id)
    return load(Release, doc)


def _no_release(release_id: str) -> NotFound:
    return NotFound(f"release {release_id!r}: there is none", hint="littoral-cloud release list")


async def withdraw(ledger: Ledger, release_id: str, why: str, *, actor: str = "operator") -> Release:
    """No rollout of the release starts any more, and no node chooses from it. Nodes that serve it go on.

    Raises NotFound; BadInput where it was withdrawn before.
    """

    def change(release: Release | None) -> Release:
        if release is None:
            raise _no_release(release_id)
        if release.withdrawn:
            raise BadInput(f"release {release_id}: was withdrawn already: {release.withdrawn}")
        return replace(release, withdrawn=why)

    line = Audit("release.withdrawn", release_id, actor, {"why": why})
    edited = await edit(ledger, Release, "release", release_id, change, lambda before, after: (line,))
    assert edited.record is not None
    return edited.record


async def all_releases(ledger: Ledger) -> list[Release]:
    """Oldest first."""
    return sorted((load(Release, doc) for doc in await ledger.all("release")), key=lambda r: (r.created_at, r.release_id))


async def read_artifact(ledger: Ledger, digest: str) -> Artifact:
    """Raises NotFound."""
    if (doc := await ledger.get("artifact", digest)) is None:
        raise unknown_artifact(digest)
    return load(Artifact, doc)


def unknown_artifact(digest: str) -> NotFound:
    return NotFound(f"artifact {digest}: is not known", hint="littoral-cloud artifact list")
