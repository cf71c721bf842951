"""Garbage collection: which artifacts and blobs may go, decided from the ledger, and how they go.

An artifact is needed where a document names it (a release, a rollout, a node's desired, reported or previous state, the base of a
run), where an artifact that is needed was made from it, or while it is young. A blob is needed where an artifact that is needed
or any document names it, or while it is young: publishing puts blobs first and names them within minutes.

Artifacts go first, each in one Change with its measurements and its line in the audit trail, at the generation that was read:
a command that names it at the same moment writes it too (create_release, create_run), so one of both fails. The blobs follow,
by what is in the ledger then, each renewed or discarded under one lock. Killed anywhere in between, what is left is whole: at
worst there are blobs without a name, for the next time.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from littoral.errors import BadInput, Conflict, FleetError, Unavailable
from littoral_cloud.federation.run import KIND as RUN
from littoral_cloud.federation.run import Run
from littoral_cloud.fleet.blobs import BlobStore
from littoral_cloud.fleet.ledger import Audit, Change, Doc, Fence, Ledger, Write
from littoral_cloud.fleet.records import Artifact, dump, load
from littoral_cloud.fleet.transfers import UPLOADS
from littoral_cloud.lineage.history import made_from

LEASE = "artifact-gc"
LEAST_AGE_S = 600.0
"""A younger blob may get its name in a moment."""
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
# Documents about an artifact go with it; what was put for a task stays for as long as a reply names it.
_NAMES_NOTHING = ("artifact", "measurement", UPLOADS)
_BATCH = 200


@dataclass(frozen=True, slots=True)
class CollectionView:
    """All that is decided on. `named`: who names a digest, by digest, in an operator's words."""

    artifacts: tuple[Doc, ...]
    measurements: tuple[Doc, ...]
    named: Mapping[str, str]
    cutoff: float  # seconds since 1970: what was made or put since is young


@dataclass(frozen=True, slots=True)
class Retained:
    artifact: Artifact
    why: str


@dataclass(frozen=True, slots=True)
class CollectionPlan:
    """What goes, and what stays and why."""

    gone: tuple[Artifact, ...]
    retained: tuple[Retained, ...]
    measurements: int  # of what goes
    blobs: Mapping[str, int]  # bytes by digest
    unfinished: int  # files that were never made whole
    unfinished_bytes: int

    @property
    def bytes(self) -> int:
        return sum(self.blobs.values()) + self.unfinished_bytes


@dataclass(frozen=True, slots=True)
class Collected:
    """What went."""

    artifacts: int
    blobs: int
    unfinished: int
    bytes: int


async def see(ledger: Ledger, now: float, older_than_s: float) -> CollectionView:
    """Raises BadInput where `older_than_s` is less than LEAST_AGE_S."""
    if not older_than_s >= LEAST_AGE_S:
        raise BadInput(
            f"--older-than: {older_than_s:g} s", hint=f"{LEAST_AGE_S / 60:g}m at least: what is being published is younger"
        )
    docs = {kind: tuple(await ledger.all(kind)) for kind in await ledger.kinds()}
    runs = [load(Run, doc) for doc in docs.get(RUN, ())]
    # What nodes hand up in a run is a blob before anybody names it, for as long as a round may last.
    cutoff = min([now - older_than_s, *(run.created_at for run in runs if not run.state.terminal)])
    named: dict[str, str] = {}
    for kind, these in docs.items():
        for doc in () if kind in _NAMES_NOTHING else these:
            for digest in _digests_of(doc):
                named.setdefault(digest, f"{kind} {doc.id}")
    return CollectionView(docs.get("artifact", ()), docs.get("measurement", ()), named, cutoff)


def decide(seen: CollectionView) -> tuple[list[Retained], list[Artifact]]:
    """Which artifacts stay, and why; and which go. Pure."""
    artifacts = sorted((load(Artifact, doc) for doc in seen.artifacts), key=lambda a: (a.created_at, a.name, a.manifest_digest))
    why: dict[str, str] = {}
    for artifact in artifacts:
        if (who := seen.named.get(artifact.manifest_digest)) is not None:
            why[artifact.manifest_digest] = who
        elif artifact.created_at >= seen.cutoff:
            why[artifact.manifest_digest] = "is young"
    named_by: dict[str, list[Artifact]] = {}
    for artifact in artifacts:
        for digest in {artifact.manifest_digest, artifact.weights} - {""}:
            named_by.setdefault(digest, []).append(artifact)
    children = [a for a in artifacts if a.manifest_digest in why]
    while children:
        child = children.pop()
        for parent in [parent for digest in sorted(made_from(child)) for parent in named_by.get(digest, ())]:
            if parent.manifest_digest not in why:
                why[parent.manifest_digest] = f"artifact {child.name} was made from it"
                children.append(parent)
    retained = [Retained(a, why[a.manifest_digest]) for a in artifacts if a.manifest_digest in why]
    return retained, [a for a in artifacts if a.manifest_digest not in why]


def plan(seen: CollectionView, blobs: BlobStore) -> CollectionPlan:
    """Raises FleetError where the manifest of an artifact that stays cannot be read: then it is not known what it needs."""
    retained, gone = decide(seen)
    needed = set(seen.named)
    for stays in retained:
        needed |= {stays.artifact.manifest_digest, stays.artifact.weights, *_named_in(blobs, stays.artifact)}
    doomed = {e.digest: e.bytes for e in blobs.entries() if e.digest not in needed and e.changed < seen.cutoff}
    going = {a.manifest_digest for a in gone}
    measurements = sum(doc.body.get("manifest_digest") in going for doc in seen.measurements)
    return CollectionPlan(tuple(gone), tuple(retained), measurements, doomed, *blobs.unfinished(seen.cutoff))


async def collect(ledger: Ledger, blobs: BlobStore, now: float, older_than_s: float, fence: Fence, *, actor: str) -> Collected:
    """Deletes what is not needed. May be stopped anywhere, and called again."""
    seen = await see(ledger, now, older_than_s)
    going = (
        await asyncio.to_thread(plan, seen, blobs)
    ).gone  # all of it, so that an unreadable manifest fails before anything is deleted
    generations = {doc.id: doc.generation for doc in seen.artifacts}
    deleted = 0
    for artifact in going:
        deleted += await _deleted(ledger, seen, artifact, generations[artifact.manifest_digest], fence, actor)
    left = await asyncio.to_thread(plan, await see(ledger, now, older_than_s), blobs)
    count = freed = 0
    digests = list(left.blobs)
    for at in range(0, len(digests), _BATCH):
        batch = digests[at : at + _BATCH]
        # Before it is done: a trail that knows of too much is better than one that knows of too little.
        details = {"blobs": len(batch), "bytes": sum(left.blobs[digest] for digest in batch)}
        await ledger.commit(Change((), (Audit("blobs.collected", "blobs", actor, details),)), fence=fence)
        sizes = await asyncio.to_thread(_discarded, blobs, batch, seen.cutoff)
        freed += sum(sizes)
        count += sum(size > 0 for size in sizes)
    swept = await asyncio.to_thread(blobs.sweep, seen.cutoff)
    return Collected(deleted, count, swept, freed + left.unfinished_bytes)


def _discarded(blobs: BlobStore, digests: Sequence[str], before: float) -> list[int]:
    return [blobs.discard(digest, before) for digest in digests]


async def _deleted(ledger: Ledger, seen: CollectionView, artifact: Artifact, generation: int, fence: Fence, actor: str) -> bool:
    """False where somebody named it meanwhile."""
    digest = artifact.manifest_digest
    measured = [Write("measurement", d.id, None, None) for d in seen.measurements if d.body.get("manifest_digest") == digest]
    details = {"model": artifact.model, "name": artifact.name, "bytes": artifact.artifact_bytes}
    line = Audit("artifact.deleted", digest, actor, details)
    try:
        await ledger.commit(Change((Write("artifact", digest, None, generation), *measured), (line,)), fence=fence)
    except Conflict as conflict:
        if conflict.code != Conflict.code:
            raise  # the lease is lost
        return False
    return True


def _digests_of(doc: Doc) -> set[str]:
    """Every digest that a document names; of a run's rounds only the newest's weights, once it is over."""
    body: Mapping[str, Any] = doc.body
    if doc.kind == RUN:
        run = load(Run, doc)
        if run.state.terminal and run.finished:
            body = dump(replace(run, finished=run.finished[-1:]))
    return set(_DIGEST.findall(json.dumps(body)))


def _named_in(blobs: BlobStore, artifact: Artifact) -> set[str]:
    """Every digest in a manifest, also in a field that this version does not know."""
    try:
        envelope = json.loads(blobs.read(artifact.manifest_digest))
        return set(_DIGEST.findall(base64.b64decode(envelope["payload"]).decode()))
    except Unavailable:
        raise  # the store is away: nothing is wrong with the artifact
    except (FleetError, ValueError, KeyError, TypeError) as error:
        raise FleetError(
            f"artifact {artifact.name}: its manifest cannot be read, so what it needs is not known; nothing was deleted: {error}",
            hint="publish it again (the same train or release command), then collect",
        ) from error
