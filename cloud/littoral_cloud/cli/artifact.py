"""littoral-cloud artifact: signed models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from littoral import decoder
from littoral.digest import PREFIX
from littoral.errors import BadInput, NotFound, RuntimeFailure, unwritten
from littoral_cloud.cli.artifact_import import EXAMPLE, import_
from littoral_cloud.cli.command import command
from littoral_cloud.cli.figures import metric_of, worst_class_of
from littoral_cloud.cli.noun import noun
from littoral_cloud.cli.token import seconds
from littoral_cloud.client.files import download
from littoral_cloud.client.fleet_client import FleetClient, part
from littoral_cloud.lineage.find import short
from littoral_cloud.lineage.tree import Branch, lines
from littoral_cloud.terminal.output import Format, FormatOption, by_class, emit, worth
from littoral_cloud.terminal.text import counted, when

app = noun("Manage signed models.", "littoral-cloud artifact show cnn-onnx-int8")

ArtifactArgument = Annotated[
    str, typer.Argument(help="The artifact's name or digest, or the first characters of its digest.", show_default=False)
]
_BEFORE_MANIFEST = ("digest", "created", "weights", "weights_held", "data", "remarks")
_COLUMNS = ("name", "model", "runtime", "accuracy", "worst_class", "bytes", "parameters", "created", "digest")


@command(app, "list", example="artifact list --model digits")
async def list_(
    fleet: FleetClient,
    model: Annotated[str | None, typer.Option(help="Only artifacts of this model.")] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """List all artifacts, oldest first."""
    found = await fleet.every("/artifacts", model=model)
    full = dict if format == Format.JSON else _row
    rows = [{**full(each), **_by_class(each, format)} for each in found]
    columns = (*_COLUMNS, "remarks") if any(each["remarks"] for each in found) else _COLUMNS
    emit(rows, format, columns=columns, empty="no artifacts" if model is None else f"no artifacts of {model}")


@command(app, example="artifact show 3f9a")
async def show(fleet: FleetClient, artifact: ArtifactArgument, format: FormatOption = Format.TABLE) -> None:
    """Show the history of an artifact as a tree: its origin, its figures, its releases, and the nodes that serve it.

    Checks the manifest's signature. JSON has everything but the arrays of probe and sketch.
    """
    story = await fleet.get(f"/artifacts/{_part(artifact)}")
    tree, manifest = story.pop("tree"), story.pop("manifest")
    if format == Format.JSON:
        emit({**{name: story[name] for name in _BEFORE_MANIFEST}, **manifest, **story}, format)
        return
    for line in lines(decoder.decode(Branch, tree, "tree")):
        typer.echo(line, nl=False)


@command(app, "sign-again", example="artifact sign-again 3f9a")
async def sign_again(fleet: FleetClient, artifact: ArtifactArgument, format: FormatOption = Format.TABLE) -> None:
    """Sign an artifact again, with the signing key in force: before the key that signed it is retired.

    It is another artifact with another digest, to be released as any other.
    """
    again = await fleet.post(f"/artifacts/{_part(artifact)}/sign-again")
    digest = again["digest"]
    emit({"was": again["was"], "digest": digest} if format == Format.JSON else f"signed {again['name']}: {digest}", format)


@command(app, example="artifact export cnn-onnx-int8 --to cnn.tar")
async def export(
    fleet: FleetClient,
    artifact: ArtifactArgument,
    to: Annotated[Path | None, typer.Option(help="The file to write. Default: the artifact's name and digest.")] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Write an artifact as one tar file: its signed manifest, the public keys that it is checked with, its files."""
    story = await fleet.get(f"/artifacts/{_part(artifact)}")
    name, digest = story["manifest"]["name"], story["digest"]
    place = to or Path(f"{name}-{short(digest)}.tar")
    if place.exists():
        raise BadInput(f"--to: {place} is there already", hint="name another file")
    draft = place.with_name(f"{place.name}.part")
    try:
        await download(fleet, f"/artifacts/{part(digest)}/bundle", draft)
        draft.replace(place)
    except OSError as error:
        raise unwritten(f"--to: {place}", error, hint="name another file") from error
    finally:
        draft.unlink(missing_ok=True)
    row = {"name": name, "digest": digest, "file": str(place), "bytes": place.stat().st_size}
    emit(row if format == Format.JSON else f"{name}: {place}, {counted(row['bytes'], 'byte')}", format)


@command(
    app,
    example="artifact check cnn-onnx-int8",
    help=f"""Test an artifact as a node does, in a child process of the coordinator: manifest, load, probe, measure.

    Every artifact passes this test before its release. Exit code {RuntimeFailure.exit_code} where a node would refuse it.
    """,
)
async def check(fleet: FleetClient, artifact: ArtifactArgument, format: FormatOption = Format.TABLE) -> None:
    found = await fleet.post(f"/artifacts/{_part(artifact)}/check", long=True)
    emit({"name": found["name"], "digest": short(found["digest"]), "works": True, **found["figures"]}, format)


@command(app, example="artifact diff cnn-onnx-int8 3f9a")
async def diff(
    fleet: FleetClient, before: ArtifactArgument, after: ArtifactArgument, format: FormatOption = Format.TABLE
) -> None:
    """Compare two artifacts by their manifests: recipe, data, seed, libraries, metrics, bytes, architecture."""
    found = await fleet.get(f"/artifacts/{_part(before)}/diff/{_part(after)}")
    pair, changes = [found["before"], found["after"]], found["changes"]
    if format == Format.JSON:
        digests = {"before": pair[0]["manifest_digest"], "after": pair[1]["manifest_digest"]}
        emit({**digests, "changes": changes}, format)
    elif not changes:
        typer.echo("nothing differs")
    else:
        emit({f: f"{x['name']} {short(x['manifest_digest'])}" for f, x in zip(("before", "after"), pair, strict=True)}, format)
        typer.echo()
        emit([{**each, "before": _brief(each["before"]), "after": _brief(each["after"])} for each in changes])


def _part(wanted: str) -> str:
    """Raises NotFound for what is no part of a path."""
    if wanted in ("", ".", ".."):
        raise NotFound(f"artifact: {wanted!r} is no artifact", hint="littoral-cloud artifact list")
    return part(wanted)


def _brief(value: Any) -> Any:
    """Shortens a digest for people; other values unchanged."""
    if isinstance(value, list | tuple):
        return [_brief(part) for part in value]
    return short(value) if isinstance(value, str) and value.startswith(PREFIX) else value


@command(app, example="artifact gc --dry-run --older-than 7d")
async def gc(
    fleet: FleetClient,
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
    body = {"older_than_s": seconds(older_than, "--older-than"), "dry_run": dry_run}
    found = await fleet.post("/artifacts/collect", body, long=True)
    deleted = found["deleted"]
    if format == Format.JSON:
        gone = [{"name": a["name"], "digest": a["manifest_digest"], "bytes": a["artifact_bytes"]} for a in found["gone"]]
        planned = {"artifacts": gone, "blobs": found["blobs"], "unfinished": found["unfinished"], "bytes": found["bytes"]}
        emit({**planned, "retained": found["retained"], "deleted": deleted}, format)
        return
    _print_plan(found)
    if deleted is not None:
        words = f"{counted(deleted['artifacts'], 'artifact')}, {_files(deleted['blobs'], deleted['unfinished'])}"
        emit(f"deleted {words}: {counted(deleted['bytes'], 'byte')}")


def _print_plan(found: Mapping[str, Any]) -> None:
    gone = found["gone"]
    if gone:
        emit([_row(a) for a in gone], columns=("name", "model", "accuracy", "bytes", "created", "digest"))
        typer.echo()
    files = _files(found["blobs"], found["unfinished"])
    emit(
        f"not needed: {len(gone)} of {counted(len(gone) + len(found['retained']), 'artifact')}; "
        f"with them go {files}: {counted(found['bytes'], 'byte')}"
    )


def _files(blobs: int, unfinished: int) -> str:
    return f"{counted(blobs, 'blob')} and {counted(unfinished, 'unfinished file')}"


def _row(a: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": a["name"],
        "model": a["model"],
        "runtime": a["runtime"],
        **worth(a["accuracy"], metric_of(a["metric"]), Format.TABLE, classes=a["class_accuracy"]),
        "bytes": a["artifact_bytes"],
        "parameters": a["parameters"],
        "created": when(a["created_at"]),
        "digest": short(a["manifest_digest"]),
        "remarks": a["remarks"],
    }


def _by_class(a: Mapping[str, Any], format: Format) -> dict[str, Any]:
    return by_class(worst_class_of(a["class_accuracy"]), a["class_accuracy"], format)


app.command("import", epilog=EXAMPLE)(import_)
