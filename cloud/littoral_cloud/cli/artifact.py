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
from littoral_cloud.app import open_existing
from littoral_cloud.cli.artifact_import import EXAMPLE, import_
from littoral_cloud.cli.noun import noun
from littoral_cloud.cli.token import seconds
from littoral_cloud.cli.tree import history_tree, lines
from littoral_cloud.fleet.records import Artifact, load
from littoral_cloud.lineage.difference import differences
from littoral_cloud.lineage.find import all_artifacts, find, short
from littoral_cloud.lineage.garbage import LEASE, CollectionPlan, collect, plan, see
from littoral_cloud.lineage.history import Story, story_of
from littoral_cloud.releases.parents import roles_of
from littoral_cloud.settings import CloudSettings, load_settings
from littoral_cloud.terminal.output import DataDirOption, Format, FormatOption, by_class, emit, when, worth

app = noun("Manage signed models.", "littoral-cloud artifact show cnn-onnx-int8")

ArtifactArgument = Annotated[
    str, typer.Argument(help="The artifact's name or digest, or the first characters of its digest.", show_default=False)
]
_COLUMNS = ("name", "model", "runtime", "accuracy", "worst_class", "bytes", "parameters", "created", "digest")


@app.command("list", epilog="Example: littoral-cloud artifact list --model digits")
def list_(
    model: Annotated[str | None, typer.Option(help="Only artifacts of this model.")] = None,
    data_dir: DataDirOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """List all artifacts, oldest first."""
    asyncio.run(_list(load_settings(data_dir=data_dir), model, format))


async def _list(settings: CloudSettings, model: str | None, format: Format) -> None:
    async with open_existing(settings) as core:
        found = [load(Artifact, doc) for doc in await core.ledger.all("artifact")]
    found = sorted((a for a in found if model in (None, a.model)), key=lambda a: (a.created_at, a.name))
    full = asdict if format == Format.JSON else _row
    rows = [{**full(a), **by_class(a.worst_class, a.class_accuracy, format)} for a in found]
    emit(rows, format, columns=(*_COLUMNS, "remarks") if any(a.remarks for a in found) else _COLUMNS)


@app.command(epilog="Example: littoral-cloud artifact show 3f9a")
def show(
    artifact: ArtifactArgument,
    data_dir: DataDirOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Show the history of an artifact as a tree: its origin, its figures, its releases, and the nodes that serve it.

    Checks the manifest's signature. JSON has everything but the arrays of probe and sketch.
    """
    asyncio.run(_show(load_settings(data_dir=data_dir), artifact, format))


async def _show(settings: CloudSettings, wanted: str, format: Format) -> None:
    async with open_existing(settings) as core:
        found = find(await all_artifacts(core.ledger), wanted)
        story = await story_of(core.ledger, core.blobs, core.trust.signing_keys(), found)
    if format == Format.JSON:
        emit(_as_json(story), format)
        return
    for line in lines(history_tree(story)):
        typer.echo(line, nl=False)


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
        "kept_by": story.kept_by,
        "children": [a.manifest_digest for a in story.children],
        "audit": story.audit,
    }


@app.command(
    epilog="Example: littoral-cloud artifact check cnn-onnx-int8",
    help=f"""Test an artifact as a node does, in a child process on this machine: manifest, load, probe, measure.

    Every artifact passes this test before its release. Exit code {RuntimeFailure.exit_code} where a node would refuse it.
    """,
)
def check(
    artifact: ArtifactArgument,
    data_dir: DataDirOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    asyncio.run(_check(load_settings(data_dir=data_dir), artifact, format))


async def _check(settings: CloudSettings, wanted: str, format: Format) -> None:
    from littoral_cloud.packaging.node_check import tried

    async with open_existing(settings) as core:
        found = find(await all_artifacts(core.ledger), wanted)
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


@app.command(epilog="Example: littoral-cloud artifact diff cnn-onnx-int8 3f9a")
def diff(
    before: ArtifactArgument,
    after: ArtifactArgument,
    data_dir: DataDirOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Compare two artifacts by their manifests: recipe, data, seed, libraries, metrics, bytes, architecture."""
    asyncio.run(_diff(load_settings(data_dir=data_dir), before, after, format))


async def _diff(settings: CloudSettings, before: str, after: str, format: Format) -> None:
    async with open_existing(settings) as core:
        artifacts = await all_artifacts(core.ledger)
        pair = [find(artifacts, wanted) for wanted in (before, after)]
        keys = core.trust.signing_keys()
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


@app.command(epilog="Example: littoral-cloud artifact gc --dry-run --older-than 7d")
def gc(
    older_than: Annotated[
        str, typer.Option(help="Only artifacts and blobs older than this: 30m, 24h, 7d; at least 10m.")
    ] = "24h",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be deleted, and its bytes; delete nothing.")
    ] = False,
    data_dir: DataDirOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Delete artifacts that no release, rollout, node, run or other artifact needs, and blobs without a reference.

    Safe while the coordinator runs, and safe to stop: the same command continues.
    """
    asyncio.run(_gc(load_settings(data_dir=data_dir), seconds(older_than, "--older-than"), dry_run, format))


async def _gc(settings: CloudSettings, older_than_s: float, dry_run: bool, format: Format) -> None:
    async with open_existing(settings) as core, core.ledger.lease(LEASE) as fence:
        now = core.clock()
        planned = await asyncio.to_thread(plan, await see(core.ledger, now, older_than_s), core.blobs)
        went = None
        if format == Format.TABLE:
            _print_plan(planned)
        if not dry_run:
            went = await collect(core.ledger, core.blobs, now, older_than_s, fence, actor=getpass.getuser())
    if format == Format.JSON:
        gone = [{"name": a.name, "digest": a.manifest_digest, "bytes": a.artifact_bytes} for a in planned.gone]
        retained = [{"name": k.artifact.name, "digest": k.artifact.manifest_digest, "why": k.why} for k in planned.retained]
        body = {"artifacts": gone, "blobs": len(planned.blobs), "unfinished": planned.unfinished, "bytes": planned.bytes}
        emit({**body, "retained": retained, "deleted": went}, format)
    elif went is not None:
        typer.echo(
            f"deleted {went.artifacts} artifacts, {went.blobs} blobs and {went.unfinished} unfinished files: {went.bytes:,} bytes"
        )


def _print_plan(planned: CollectionPlan) -> None:
    if planned.gone:
        emit([_row(a) for a in planned.gone], columns=("name", "model", "accuracy", "bytes", "created", "digest"))
        typer.echo()
    typer.echo(
        f"{len(planned.gone)} of {len(planned.gone) + len(planned.retained)} artifacts are not needed; with them go "
        f"{len(planned.blobs)} blobs and {planned.unfinished} unfinished files: {planned.bytes:,} bytes"
    )


def _row(a: Artifact) -> dict[str, Any]:
    return {
        "name": a.name,
        "model": a.model,
        "runtime": a.runtime,
        **worth(a.accuracy, a.metric, Format.TABLE, classes=a.class_accuracy),
        "bytes": a.artifact_bytes,
        "parameters": a.parameters,
        "created": when(a.created_at),
        "digest": a.manifest_digest.removeprefix("sha256:")[:12],
        "remarks": list(a.remarks),
    }


app.command("import", epilog=EXAMPLE)(import_)
