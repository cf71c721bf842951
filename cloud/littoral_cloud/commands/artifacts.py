"""Use cases of artifacts: the list, one with its history, what a node would say of it, what differs, what is not needed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from littoral.errors import BadInput, RuntimeFailure
from littoral.manifest import Manifest
from littoral.measuring import ABSENT, Measurer
from littoral.transport import split_address
from littoral_cloud.commands.paging import Page, moment_key, page_of
from littoral_cloud.commands.scopes import needs_every_node
from littoral_cloud.commands.use_case import Office, use_case
from littoral_cloud.fleet.ledger import AuditEntry
from littoral_cloud.fleet.records import Artifact, Release
from littoral_cloud.lineage.difference import Difference, differences
from littoral_cloud.lineage.find import all_artifacts, find
from littoral_cloud.lineage.garbage import LEASE, collect, plan, see
from littoral_cloud.lineage.history import Story, story_of
from littoral_cloud.lineage.tree import Branch, history_tree
from littoral_cloud.local.how_to_ask import how_to_ask
from littoral_cloud.local.snippets import Where
from littoral_cloud.packaging.trial import tried_from
from littoral_cloud.releases.parents import roles_of
from littoral_cloud.releases.signed_by import sign_again
from littoral_cloud.terminal.text import when
from littoral_cloud.trust.audit_archive import FOLDER
from littoral_cloud.trust.people import Caller, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseOfArtifact(Release):
    released_by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactStory:
    """Where an artifact came from, and what became of it.

    Attributes:
        manifest: without the arrays of probe and sketch.
        weights_held: whether a run can start from its weights here.
        roles: what each of the manifest's parents was.
        run: the federated run that its weights came of. `base`: the artifact that it was made from.
        rollouts: states by id.
        served_by, wanted_by, retained_by: names of nodes that answer with it, shall have it, would go back to it.
        children: digests of what was made from it.
        tree: all of it, in words.
    """

    digest: str
    created: str
    weights: str
    weights_held: bool
    data: str
    remarks: tuple[str, ...]
    manifest: Mapping[str, Any]
    roles: tuple[str, ...]
    artifact_bytes: int
    transfer_bytes: int
    run: str | None
    base: str | None
    releases: tuple[ReleaseOfArtifact, ...]
    rollouts: Mapping[str, str]
    served_by: tuple[str, ...]
    wanted_by: tuple[str, ...]
    retained_by: tuple[str, ...]
    children: tuple[str, ...]
    audit: tuple[AuditEntry, ...]
    tree: Branch


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactDifferences:
    before: Artifact
    after: Artifact
    changes: tuple[Difference, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedArtifact:
    """As a node tests it: what `figures` says is littoral.measurement's."""

    name: str
    digest: str
    works: bool
    figures: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedAgain:
    """Manifest digests: of the artifact that it was, and of the one that it is now."""

    name: str
    was: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HowToAsk:
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RetainedArtifact:
    name: str
    digest: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionShown:
    """What a collection deletes: artifacts, blobs, files that never became blobs, and the bytes of all.

    `deleted_*`: what it has deleted; None: it was a dry run.
    """

    gone: tuple[Artifact, ...]
    retained: tuple[RetainedArtifact, ...]
    blobs: int
    unfinished: int
    bytes: int
    deleted: Mapping[str, int] | None


@use_case("artifact.list", Role.VIEWER)
async def page(
    office: Office, caller: Caller, *, after: str, limit: int, model: str = "", newest_first: bool = False
) -> Page[Artifact]:
    """The artifacts of the caller's models, by the time when they were signed."""
    every = await all_artifacts(office.core.ledger)
    return page_of(
        [each for each in every if caller.scope.has_model(each.model) and model in ("", each.model)],
        lambda each: moment_key(each.created_at, f"{each.name}.{each.manifest_digest}"),
        lambda each: each,
        of="artifacts",
        after=after,
        limit=limit,
        descending=newest_first,
    )


@use_case("artifact.show", Role.VIEWER)
async def show(office: Office, caller: Caller, *, artifact: str) -> ArtifactStory:
    """Where an artifact came from, its figures, its releases, the nodes that serve it. Checks the manifest's signature."""
    core, found = office.core, await _mine(office, caller, artifact)
    story = await story_of(core.ledger, core.blobs, core.trust.signing_keys(), found, core.settings.data_dir / FOLDER)
    return _told(story)


@use_case("artifact.diff", Role.VIEWER)
async def diff(office: Office, caller: Caller, *, before: str, after: str) -> ArtifactDifferences:
    """What differs between two artifacts, by their manifests."""
    core = office.core
    a, b = [await _mine(office, caller, wanted) for wanted in (before, after)]
    keys = core.trust.signing_keys()
    old, new = (Manifest.open(core.blobs.read(each.manifest_digest), keys) for each in (a, b))
    return ArtifactDifferences(before=a, after=b, changes=tuple(differences(old, new)))


@use_case("artifact.sign-again", Role.ADMIN)
async def signed_again(office: Office, caller: Caller, *, artifact: str) -> SignedAgain:
    """Signs an artifact again, with the signing key in force."""
    core, found = office.core, await _mine(office, caller, artifact)
    again = await sign_again(core, core.trust.signing_keys(), found, core.clock(), caller.name)
    return SignedAgain(name=again.name, was=found.manifest_digest, digest=again.manifest_digest)


@use_case("artifact.check", Role.OPERATOR)
async def check(office: Office, caller: Caller, *, artifact: str) -> CheckedArtifact:
    """Tests an artifact as a node does, in a child process of the coordinator. Raises RuntimeFailure where a node refuses it."""
    core, found = office.core, await _mine(office, caller, artifact)
    manifest = Manifest.open(core.blobs.read(found.manifest_digest), core.trust.signing_keys())
    measurer = Measurer(1, None)
    try:
        async with office.heavy:
            result = await tried_from(manifest, core.blobs.path, measurer)
    finally:
        measurer.end()
    if result.failure == ABSENT:
        raise RuntimeFailure(f"{manifest.name}: cannot be tested, {manifest.runtime} is not here: {result.detail}")
    if result.failure:
        raise RuntimeFailure.with_code(result.failure, f"{manifest.name}: a node refuses it here: {result.detail}")
    figures = {name: value for name, value in asdict(result).items() if name not in ("failure", "detail")}
    return CheckedArtifact(name=manifest.name, digest=found.manifest_digest, works=True, figures=figures)


@use_case("artifact.how-to-ask", Role.VIEWER)
async def asking(office: Office, caller: Caller, *, artifact: str, http: str, grpc: str, folder: str) -> HowToAsk:
    """Commands that ask a node for an answer of this artifact; empty where its manifest is here no more.

    Args:
        http, grpc: HOST:PORT of the node; `grpc` "": it is off. `folder`: the node's, on the caller's machine; "": not known.
    """
    found = await _mine(office, caller, artifact)
    for name, address in (("http", http), ("grpc", grpc)):
        if address:
            host, _ = split_address(address, name)
            if not all(letter.isalnum() or letter in ".:-" for letter in host):
                raise BadInput(f"{name}: {address[:80]!r} has no host", hint="like 127.0.0.1:8080")
    return HowToAsk(words=how_to_ask(office.core, found.model, found.manifest_digest, Where(http, grpc, folder)))


@use_case("artifact.collect", Role.ADMIN)
async def collected(office: Office, caller: Caller, *, older_than_s: float, dry_run: bool) -> CollectionShown:
    """Deletes artifacts that nothing needs, and blobs without a reference."""
    core = office.core
    needs_every_node(caller, "artifact gc")
    async with core.ledger.lease(LEASE) as fence:
        now = core.clock()
        planned = await asyncio.to_thread(plan, await see(core.ledger, now, older_than_s), core.blobs)
        gone = None if dry_run else await collect(core.ledger, core.blobs, now, older_than_s, fence, actor=caller.name)
    return CollectionShown(
        gone=tuple(planned.gone),
        retained=tuple(
            RetainedArtifact(name=each.artifact.name, digest=each.artifact.manifest_digest, why=each.why)
            for each in planned.retained
        ),
        blobs=len(planned.blobs),
        unfinished=planned.unfinished,
        bytes=planned.bytes,
        deleted=asdict(gone) if gone else None,
    )


async def _mine(office: Office, caller: Caller, wanted: str) -> Artifact:
    """Raises NotFound, Denied."""
    found = find(await all_artifacts(office.core.ledger), wanted)
    caller.needs_model(found.model)
    return found


def _told(story: Story) -> ArtifactStory:
    found, manifest, base = story.origin.artifact, story.origin.manifest, story.origin.base
    label, least = manifest.worst_class or ("", None)
    body = asdict(manifest)
    body.pop("class_accuracy")
    body |= {"worst_class": least, "worst_label": label, "class_accuracy": dict(manifest.accuracy_by_label)}
    body["probe"] = {"count": manifest.probe.count, "tolerance": manifest.probe.tolerance}
    body["sketch"] = {"seed": manifest.sketch.seed, "features": len(manifest.sketch.edges)}
    if (signature := manifest.signature) is not None:
        body["signature"] = {"inputs": signature.inputs, "outputs": signature.outputs}
    return ArtifactStory(
        digest=found.manifest_digest,
        created=when(found.created_at),
        weights=found.weights,
        weights_held=story.origin.weights_held,
        data=found.data,
        remarks=found.remarks,
        manifest=body,
        roles=roles_of(manifest),
        artifact_bytes=manifest.artifact_bytes,
        transfer_bytes=manifest.transfer_bytes,
        run=story.origin.run.run_id if story.origin.run else None,
        base=base.artifact.manifest_digest if base else None,
        releases=tuple(
            ReleaseOfArtifact(**asdict(each), released_by=story.released_by.get(each.release_id)) for each in story.releases
        ),
        rollouts={id: rollout.state.value for id, rollout in story.rollouts.items()},
        served_by=story.served_by,
        wanted_by=story.wanted_by,
        retained_by=story.retained_by,
        children=tuple(each.manifest_digest for each in story.children),
        audit=story.audit,
        tree=history_tree(story),
    )
