"""What was made of what, as a graph: data, teachers, weights, runs, artifacts and releases of one model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from littoral.errors import FleetError
from littoral.lineage import BASE, OTHER, WEIGHTS
from littoral.manifest import Manifest
from littoral_cloud.federation.run import Run
from littoral_cloud.fleet.blobs import BlobStore
from littoral_cloud.fleet.records import Artifact, Release
from littoral_cloud.lineage.find import short
from littoral_cloud.releases.parents import roles_of

MADE_BY = "result"
RELEASED = "released"


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageNode:
    """`kind`: artifact, release, run, or the role that a parent had (data, teacher, member, base, parent). `served_by`: how many
    nodes answer with this artifact."""

    id: str
    kind: str
    name: str
    created_at: float | None = None
    served_by: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageEdge:
    """`role`: what the parent was."""

    parent: str
    child: str
    role: str


def graph_of(
    artifacts: Sequence[Artifact],
    releases: Sequence[Release],
    runs: Sequence[Run],
    serving: Mapping[str, int],
    blobs: BlobStore,
    trusted: Mapping[str, bytes],
) -> tuple[tuple[LineageNode, ...], tuple[LineageEdge, ...]]:
    """Reads each artifact's manifest; of one that cannot be read, every parent is a "parent".

    The network that an artifact was exported from is no node: artifacts of one network have it in common with a run's result.
    """
    known = {each.manifest_digest: each for each in artifacts}
    of_weights = {each.weights: each.manifest_digest for each in reversed(artifacts) if each.weights}
    nodes = {
        digest: LineageNode(
            id=digest, kind="artifact", name=each.name, created_at=each.created_at, served_by=serving.get(digest, 0)
        )
        for digest, each in known.items()
    }
    edges: dict[LineageEdge, None] = {}

    def parent(digest: str, role: str) -> str:
        id = digest if digest in known else of_weights.get(digest, digest)
        nodes.setdefault(id, LineageNode(id=id, kind=role, name=short(id)))
        return id

    results = {run.weights: run.run_id for run in runs if run.finished}
    for run in runs:
        nodes[run.run_id] = LineageNode(id=run.run_id, kind="run", name=run.run_id, created_at=run.created_at)
        base = parent(run.base_manifest or run.base_weights, BASE)
        edges[LineageEdge(parent=base, child=run.run_id, role=BASE)] = None
    for each in artifacts:
        if (run_id := results.get(each.weights)) is not None:
            edges[LineageEdge(parent=run_id, child=each.manifest_digest, role=MADE_BY)] = None
        for digest, role in _parents(each, blobs, trusted):
            if role != WEIGHTS and (made_of := parent(digest, role)) != each.manifest_digest:
                edges[LineageEdge(parent=made_of, child=each.manifest_digest, role=role)] = None
    for release in releases:
        nodes[release.release_id] = LineageNode(
            id=release.release_id, kind="release", name=release.release_id, created_at=release.created_at
        )
        for digest in release.artifacts:
            if digest in known:
                edges[LineageEdge(parent=digest, child=release.release_id, role=RELEASED)] = None
    return tuple(nodes.values()), tuple(edges)


def _parents(artifact: Artifact, blobs: BlobStore, trusted: Mapping[str, bytes]) -> list[tuple[str, str]]:
    """(digest, role) of each."""
    try:
        manifest = Manifest.open(blobs.read(artifact.manifest_digest), trusted)
    except FleetError:
        return [(digest, OTHER) for digest in artifact.parents]
    return list(zip(manifest.parents, roles_of(manifest), strict=True))
