"""Where one artifact came from, and what became of it: read from its signed manifest, the ledger and the audit trail."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from littoral.errors import FleetError
from littoral.lineage import BASE
from littoral.manifest import Manifest
from littoral_cloud.federation.run import Run, RunState, all_runs
from littoral_cloud.fleet.blobs import BlobStore
from littoral_cloud.fleet.ledger import AuditEntry, Ledger, trail
from littoral_cloud.fleet.nodes import names_of
from littoral_cloud.fleet.records import Artifact, Desired, Release, Reported, load
from littoral_cloud.lineage.find import all_artifacts
from littoral_cloud.releases.catalogue import all_releases
from littoral_cloud.releases.parents import parents_by_role
from littoral_cloud.rollouts.state import KIND as ROLLOUT
from littoral_cloud.rollouts.state import Rollout
from littoral_cloud.trust.audit_check import archived_about


@dataclass(frozen=True, slots=True)
class Origin:
    """How an artifact was made. `run`: the federated run that its weights came of. `base`: what that run began with."""

    artifact: Artifact
    manifest: Manifest
    weights_held: bool
    run: Run | None = None
    base: Origin | None = None


@dataclass(frozen=True, slots=True)
class Story:
    """An origin, and what became of it. Nodes are named; `released_by` is by release id."""

    origin: Origin
    releases: tuple[Release, ...]
    released_by: Mapping[str, str]
    rollouts: Mapping[str, Rollout]  # that brought it to a node, or meant to
    served_by: tuple[str, ...]
    wanted_by: tuple[str, ...]
    retained_by: tuple[str, ...]  # nodes that would go back to it
    children: tuple[Artifact, ...]  # made from its weights, or from itself
    audit: tuple[AuditEntry, ...]


async def story_of(
    ledger: Ledger, blobs: BlobStore, trusted: Mapping[str, bytes], artifact: Artifact, archive: Path | None = None
) -> Story:
    """The whole story of one artifact.

    Args:
        archive: the folder with archived lines of the audit trail; None: only those in the ledger are read.

    Raises NotFound, DigestMismatch, Untrusted or BadManifest where its own manifest cannot be read; an ancestor whose manifest
    is gone ends the chain there.
    """
    artifacts, runs = await all_artifacts(ledger), await all_runs(ledger)
    digest = artifact.manifest_digest
    releases = tuple(r for r in await all_releases(ledger) if digest in r.artifacts)
    rollouts = {doc.id: load(Rollout, doc) for doc in await ledger.all(ROLLOUT)}
    mine = {
        id: rollout
        for id, rollout in sorted(rollouts.items(), key=lambda item: item[1].created_at)
        if digest in rollout.given or rollout.release_id in {r.release_id for r in releases}
    }
    origin = _origin(blobs, trusted, artifact, artifacts, runs, seen=())
    subjects = {digest, *mine, *(r.release_id for r in releases), *((origin.run.run_id,) if origin.run else ())}
    older = await archived_about(ledger, trusted, archive, subjects) if archive is not None else ()
    audit = (*older, *[line async for line in trail(ledger) if line.subject in subjects])
    reported = {doc.id: load(Reported, doc).models.get(artifact.model) for doc in await ledger.all("reported")}
    desired = {doc.id: load(Desired, doc).models.get(artifact.model) for doc in await ledger.all("desired")}

    async def named(ids: Collection[str]) -> tuple[str, ...]:
        names = await names_of(ledger, ids)
        return tuple(sorted(names.get(id, id) for id in ids))

    return Story(
        origin,
        releases,
        {line.subject: line.actor for line in audit if line.action == "release.created"},
        mine,
        await named([id for id, model in reported.items() if model is not None and model.serving == digest]),
        await named([id for id, wanted in desired.items() if wanted is not None and wanted.manifest_digest == digest]),
        await named([id for id, model in reported.items() if model is not None and model.previous == digest]),
        tuple(children_of(artifact, artifacts)),
        audit,
    )


def children_of(artifact: Artifact, artifacts: Sequence[Artifact]) -> list[Artifact]:
    """What was made from this artifact, or trained on from its weights; not what was exported from the same weights."""
    mine = {artifact.manifest_digest} | ({artifact.weights} if artifact.weights else set())
    return [a for a in artifacts if a.manifest_digest != artifact.manifest_digest and mine & made_from(a)]


def made_from(artifact: Artifact) -> set[str]:
    """The digests of its parents, its own weights left out: those are itself in another form."""
    return set(artifact.parents) - {artifact.weights}


def _origin(
    blobs: BlobStore,
    trusted: Mapping[str, bytes],
    artifact: Artifact,
    artifacts: Sequence[Artifact],
    runs: Sequence[Run],
    seen: tuple[str, ...],
) -> Origin:
    manifest = Manifest.open(blobs.read(artifact.manifest_digest), trusted)
    held = bool(artifact.weights) and blobs.has(artifact.weights)
    of = [r for r in runs if r.state is RunState.SUCCEEDED and artifact.weights and r.weights == artifact.weights]
    run = of[-1] if of else None
    before = _base(artifact, manifest, run, artifacts)
    seen = (*seen, artifact.manifest_digest)
    if before is None or before.manifest_digest in seen:
        return Origin(artifact, manifest, held, run)
    try:
        return Origin(artifact, manifest, held, run, _origin(blobs, trusted, before, artifacts, runs, seen))
    except FleetError:  # an ancestor's manifest is not here any more: what is known of it stands in this one's parents
        return Origin(artifact, manifest, held, run)


def _base(artifact: Artifact, manifest: Manifest, run: Run | None, artifacts: Sequence[Artifact]) -> Artifact | None:
    if run is not None:
        return next((a for a in artifacts if a.manifest_digest == run.base_manifest), None)
    parents = set(parents_by_role(manifest).get(BASE, ()))
    return next((a for a in artifacts if {a.manifest_digest, a.weights} & parents and a != artifact), None)
