"""littoral-cloud artifact: signed models."""

from __future__ import annotations

import asyncio
import getpass
from dataclasses import asdict
from typing import Annotated, Any

import typer

from littoral.digest import PREFIX
from littoral.errors import RuntimeFailure
from littoral.manifest import Manifest
from littoral.measuring import ABSENT, Measurer
from littoral_cloud.app import Core
from littoral_cloud.cli.artifact_import import EXAMPLE, import_
from littoral_cloud.cli.command import command
from littoral_cloud.cli.noun import noun
from littoral_cloud.cli.token import seconds
from littoral_cloud.fleet.records import Artifact
from littoral_cloud.lineage.difference import differences
from littoral_cloud.lineage.find import all_artifacts, find, short
from littoral_cloud.lineage.garbage import LEASE, CollectionPlan, collect, plan, see
from littoral_cloud.lineage.history import Story, story_of
from littoral_cloud.lineage.tree import history_tree, lines
from littoral_cloud.releases.parents import roles_of
from littoral_cloud.releases.signed_by import sign_again
from littoral_cloud.terminal.output import Format, FormatOption, by_class, emit, worth
from littoral_cloud.terminal.text import counted, when
from littoral_cloud.trust.audit_archive import FOLDER

app = noun("Manage signed models.", "littoral-cloud artifact show cnn-onnx-int8")

ArtifactArgument = Annotated[
    str, typer.Argument(help="The artifact's name or digest, or the first characters of its digest.", show_default=False)
]
_COLUMNS = ("name", "model", "runtime", "accuracy", "worst_class", "bytes", "parameters", "created", "digest")


@command(app, "list", example="artifact list --model digits")
async def list_(
    core: Core,
    model: Annotated[str | None, typer.Option(help="Only artifacts of this model.")] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """List all artifacts, oldest first."""
    found = [artifact for artifact in await all_artifacts(core.ledger) if model in (None, artifact.model)]
    full = asdict if format == Format.JSON else _row
    rows = [{**full(a), **by_class(a.worst_class, a.class_accuracy, format)} for a in found]
    columns = (*_COLUMNS, "remarks") if any(a.remarks for a in found) else _COLUMNS
    emit(rows, format, columns=columns, empty="no artifacts" if model is None else f"no artifacts of {model}")


@command(app, example="artifact show 3f9a")
async def show(core: Core, artifact: ArtifactArgument, format: FormatOption = Format.TABLE) -> None:
    """Show the history of an artifact as a tree: its origin, its figures, its releases, and the nodes that serve it.

    Checks the manifest's signature. JSON has everything but the arrays of probe and sketch.
    """
    found = find(await all_artifacts(core.ledger), artifact)
    archive = core.settings.data_dir / FOLDER
    story = await story_of(core.ledger, core.blobs, core.trust.signing_keys(), found, archive)
    if format == Format.JSON:
        emit(_as_json(story), format)
        return
    for line in lines(history_tree(story)):
        typer.echo(line, nl=False)


@command(app, "sign-again", example="artifact sign-again 3f9a")
async def sign_again_(core: Core, artifact: ArtifactArgument, format: FormatOption = Format.TABLE) -> None:
    """Sign an artifact again, with the signing key in force: before the key that signed it is retired.

    It is another artifact with another digest, to be released as any other.
    """
    found = find(await all_artifacts(core.ledger), artifact)
    again = await sign_again(core, core.trust.signing_keys(), found, core.clock(), getpass.getuser())
    digest = again.manifest_digest
    emit({"was": found.manifest_digest, "digest": digest} if format == Format.JSON else f"signed {again.name}: {digest}", format)


def _as_json(story: Story) -> dict[str, Any]:
    found, manifest, base = story.origin.artifact, story.origin.manifest, story.origin.base
    body = asdict(manifest)
    body.pop("class_accuracy")
    body |= by_class(manifest.worst_class, manifest.accuracy_by_label, Format.JSON)
    body["probe"] = {"count": manifest.probe.count, "tolerance": manifest.probe.tolerance}
    body["sketch"] = {"seed": manifest.sketch.seed, "features": len(manifest.sketch.edges)}
    if (signature := manifest.signature) is not None:
        body["signature"] = {"inputs": signature.inputs, "outputs": signature.outputs}
    return {
        "digest": found.manifest_digest,
        "created": when(found.created_at),
        "weights": found.weights,
        "weights_held": story.origin.weights_held,
        "data": found.data,
        "remarks": found.remarks,
        **body,
        "roles": roles_of(manifest),
        "artifact_bytes": manifest.artifact_bytes,
        "transfer_bytes": manifest.transfer_bytes,
        "run": story.origin.run.run_id if story.origin.run else None,
        "base": base.artifact.manifest_digest if base else None,
        "releases": [{**asdict(r), "released_by": story.released_by.get(r.release_id)} for r in story.releases],
        "rollouts": {id: rollout.state for id, rollout in story.rollouts.items()},
        "served_by": story.served_by,
        "wanted_by": story.wanted_by,
        "retained_by": story.retained_by,
        "children": [a.manifest_digest for a in story.children],
        "audit": story.audit,
    }


@command(
    app,
    example="artifact check cnn-onnx-int8",
    help=f"""Test an artifact as a node does, in a child process on this machine: manifest, load, probe, measure.

    Every artifact passes this test before its release. Exit code {RuntimeFailure.exit_code} where a node would refuse it.
    """,
)
async def check(core: Core, artifact: ArtifactArgument, format: FormatOption = Format.TABLE) -> None:
    from littoral_cloud.packaging.trial import tried

    found = find(await all_artifacts(core.ledger), artifact)
    read = core.blobs.read
    manifest = Manifest.open(read(found.manifest_digest), core.trust.signing_keys())
    files = {file.path: read(file.digest) for file in manifest.files if file.transfer is None}
    coded = {file.path: read(file.transfer.digest) for file in manifest.files if file.transfer is not None}
    measurer = Measurer(1, None)
    try:
        result = await tried(manifest, files, coded, measurer)
    finally:
        measurer.end()
    if result.failure == ABSENT:
        raise RuntimeFailure(f"{manifest.name}: cannot be tested, {manifest.runtime} is not here: {result.detail}")
    if result.failure:
        raise RuntimeFailure.with_code(result.failure, f"{manifest.name}: a node refuses it here: {result.detail}")
    row = {"name": manifest.name, "digest": short(found.manifest_digest), "works": True, **asdict(result)}
    emit({name: value for name, value in row.items() if name not in ("failure", "detail")}, format)


@command(app, example="artifact diff cnn-onnx-int8 3f9a")
async def diff(core: Core, before: ArtifactArgument, after: ArtifactArgument, format: FormatOption = Format.TABLE) -> None:
    """Compare two artifacts by their manifests: recipe, data, seed, libraries, metrics, bytes, architecture."""
    artifacts, keys = await all_artifacts(core.ledger), core.trust.signing_keys()
    pair = [find(artifacts, wanted) for wanted in (before, after)]
    a, b = (Manifest.open(core.blobs.read(artifact.manifest_digest), keys) for artifact in pair)
    changes = differences(a, b)
    if format == Format.JSON:
        emit({"before": pair[0].manifest_digest, "after": pair[1].manifest_digest, "changes": changes}, format)
    elif not changes:
        typer.echo("nothing differs")
    else:
        emit({f: f"{x.name} {short(x.manifest_digest)}" for f, x in zip(("before", "after"), pair, strict=True)}, format)
        typer.echo()
        emit([{"section": c.section, "key": c.key, "before": _brief(c.before), "after": _brief(c.after)} for c in changes])


def _brief(value: Any) -> Any:
    """Shortens a digest for people; other values unchanged."""
    if isinstance(value, list | tuple):
        return [_brief(part) for part in value]
    return short(value) if isinstance(value, str) and value.startswith(PREFIX) else value


@command(app, example="artifact gc --dry-run --older-than 7d")
async def gc(
    core: Core,
    older_than: Annotated[
        str, typer.Option(help="Only artifacts and blobs older than this: 30m, 24h, 7d; at least 10m.")
    ] = "24h",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be deleted, and its bytes; delete nothing.")
    ] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Delete artifacts that no release, rollout, node, run or other artifact needs, and blobs without a reference.

    Safe while the coordinator runs, and safe to stop: the same command continues.
    """
    older_than_s = seconds(older_than, "--older-than")
    async with core.ledger.lease(LEASE) as fence:
        now = core.clock()
        planned = await asyncio.to_thread(plan, await see(core.ledger, now, older_than_s), core.blobs)
        deleted = None
        if format == Format.TABLE:
            _print_plan(planned)
        if not dry_run:
            deleted = await collect(core.ledger, core.blobs, now, older_than_s, fence, actor=getpass.getuser())
    if format == Format.JSON:
        gone = [{"name": a.name, "digest": a.manifest_digest, "bytes": a.artifact_bytes} for a in planned.gone]
        retained = [{"name": k.artifact.name, "digest": k.artifact.manifest_digest, "why": k.why} for k in planned.retained]
        body = {"artifacts": gone, "blobs": len(planned.blobs), "unfinished": planned.unfinished, "bytes": planned.bytes}
        emit({**body, "retained": retained, "deleted": deleted}, format)
    elif deleted is not None:
        words = f"{counted(deleted.artifacts, 'artifact')}, {_files(deleted.blobs, deleted.unfinished)}"
        emit(f"deleted {words}: {counted(deleted.bytes, 'byte')}")


def _print_plan(planned: CollectionPlan) -> None:
    if planned.gone:
        emit([_row(a) for a in planned.gone], columns=("name", "model", "accuracy", "bytes", "created", "digest"))
        typer.echo()
    files = _files(len(planned.blobs), planned.unfinished)
    emit(
        f"not needed: {len(planned.gone)} of {counted(len(planned.gone) + len(planned.retained), 'artifact')}; "
        f"with them go {files}: {counted(planned.bytes, 'byte')}"
    )


def _files(blobs: int, unfinished: int) -> str:
    return f"{counted(blobs, 'blob')} and {counted(unfinished, 'unfinished file')}"


def _row(a: Artifact) -> dict[str, Any]:
    return {
        "name": a.name,
        "model": a.model,
        "runtime": a.runtime,
        **worth(a.accuracy, a.metric, Format.TABLE, classes=a.class_accuracy),
        "bytes": a.artifact_bytes,
        "parameters": a.parameters,
        "created": when(a.created_at),
        "digest": short(a.manifest_digest),
        "remarks": list(a.remarks),
    }


app.command("import", epilog=EXAMPLE)(import_)
