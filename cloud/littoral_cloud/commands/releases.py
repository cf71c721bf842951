"""Use cases of releases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from littoral.errors import BadInput, NotFound
from littoral_cloud.commands.paging import Page, moment_key, page_of
from littoral_cloud.commands.scopes import needs_every_node
from littoral_cloud.commands.use_case import Office, use_case
from littoral_cloud.fleet.records import Artifact, Release
from littoral_cloud.lineage.find import all_artifacts, find
from littoral_cloud.releases.catalogue import all_releases, create_release, read_artifact, read_release
from littoral_cloud.rollouts.back import release_before, serving_nodes, withdraw_everywhere
from littoral_cloud.trust.people import Caller, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseDetail:
    """A release with its artifacts. `served_by`: names of the nodes that answer with one of them."""

    release: Release
    artifacts: tuple[Artifact, ...]
    served_by: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseRequest:
    """Artifacts of one model, each by its name or digest, or the first characters of its digest.

    `kind`: "initial" of students that were trained, "manual" of what a person chose.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    artifacts: tuple[str, ...]
    note: str = ""
    kind: Literal["initial", "manual"] = "manual"


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawnRelease:
    """Attributes:
    rollouts_stopped: rollouts of it that were asked to stop.
    served_by: names of the nodes that still answer with one of its artifacts.
    release_before: what `rollout back` would give them; None: nothing, for the reason in `why_none`.
    """

    release: Release
    rollouts_stopped: tuple[str, ...]
    served_by: tuple[str, ...]
    release_before: str | None
    why_none: str = ""


@use_case("release.list", Role.VIEWER)
async def page(
    office: Office, caller: Caller, *, after: str, limit: int, model: str = "", newest_first: bool = False
) -> Page[Release]:
    """The releases of the caller's models, by the time when they were made."""
    every = await all_releases(office.core.ledger)
    return page_of(
        [each for each in every if caller.scope.has_model(each.model) and model in ("", each.model)],
        lambda each: moment_key(each.created_at, each.release_id),
        lambda each: each,
        of="releases",
        after=after,
        limit=limit,
        descending=newest_first,
    )


@use_case("release.show", Role.VIEWER)
async def show(office: Office, caller: Caller, *, release: str) -> ReleaseDetail:
    """A release, its artifacts, and the nodes that serve one of them."""
    found = await read_release(office.core.ledger, release)
    caller.needs_model(found.model)
    return await detail_of(office, found)


@use_case("release.create", Role.OPERATOR)
async def create(office: Office, caller: Caller, *, request: ReleaseRequest) -> ReleaseDetail:
    """Makes a release of artifacts that are known."""
    core = office.core
    known = await all_artifacts(core.ledger)
    artifacts = [find(known, wanted) for wanted in request.artifacts]
    if not artifacts:
        raise BadInput("artifacts: a release needs at least one", hint="littoral-cloud artifact list")
    for each in artifacts:
        caller.needs_model(each.model)
    digests, model = [each.manifest_digest for each in artifacts], artifacts[0].model
    made = await create_release(core.ledger, model, digests, request.kind, request.note, core.clock(), actor=caller.name)
    return await detail_of(office, made)


@use_case("release.withdraw", Role.OPERATOR)
async def withdraw(office: Office, caller: Caller, *, release: str, why: str) -> WithdrawnRelease:
    """No node gets the release any more, and its rollouts stop. Nodes that serve it go on."""
    ledger = office.core.ledger
    if not why.strip():
        raise BadInput("why: is empty", hint="--why 'blind to sevens'")
    caller.needs_model((await read_release(ledger, release)).model)
    needs_every_node(caller, f"release {release}")
    withdrawn, stopped = await withdraw_everywhere(ledger, release, why, caller.name)
    before, why_none = None, ""
    try:
        before = (await release_before(ledger, withdrawn.model)).release_id
    except NotFound as error:
        why_none = error.message
    return WithdrawnRelease(
        release=withdrawn,
        rollouts_stopped=stopped,
        served_by=tuple(await serving_nodes(ledger, withdrawn)),
        release_before=before,
        why_none=why_none,
    )


async def detail_of(office: Office, release: Release) -> ReleaseDetail:
    ledger = office.core.ledger
    return ReleaseDetail(
        release=release,
        artifacts=tuple([await read_artifact(ledger, digest) for digest in release.artifacts]),
        served_by=tuple(await serving_nodes(ledger, release)),
    )
