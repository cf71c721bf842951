"""littoral-cloud artifact: signed models."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated, Any

import typer

from cloud.app import open_existing
from cloud.cli.output import DataDirOption, Format, FormatOption, by_class, emit, when
from cloud.fleet.records import Artifact, load
from cloud.settings import Settings, load_settings
from littoral.errors import NotFound
from littoral.manifest import Manifest

app = typer.Typer(help="Signed models.", no_args_is_help=True, rich_markup_mode=None)

_COLUMNS = ("name", "model", "runtime", "accuracy", "worst_class", "bytes", "parameters", "created", "digest")


@app.command("list", epilog="Example: littoral-cloud artifact list --model digits")
def list_(
    model: Annotated[str | None, typer.Option(help="Of one model alone.")] = None,
    data_dir: DataDirOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Every artifact, oldest first."""
    asyncio.run(_list(load_settings(data_dir=data_dir), model, format))


async def _list(settings: Settings, model: str | None, format: Format) -> None:
    async with open_existing(settings) as core:
        found = [load(Artifact, doc) for doc in await core.ledger.all("artifact")]
    found = sorted((a for a in found if model in (None, a.model)), key=lambda a: (a.created_at, a.name))
    full = asdict if format == Format.JSON else _row
    rows = [{**full(a), **by_class(a.worst_class, a.class_accuracy, format)} for a in found]
    emit(rows, format, columns=(*_COLUMNS, "remarks") if any(a.remarks for a in found) else _COLUMNS)


@app.command(epilog="Example: littoral-cloud artifact show sha256:3f9a")
def show(
    artifact: Annotated[str, typer.Argument(help="The digest of its manifest, or the beginning of it, or its name.")],
    data_dir: DataDirOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """What its signed manifest says; the signature is checked. Without the arrays that probe and sketch hold."""
    asyncio.run(_show(load_settings(data_dir=data_dir), artifact, format))


async def _show(settings: Settings, wanted: str, format: Format) -> None:
    async with open_existing(settings) as core:
        found = _find([load(Artifact, doc) for doc in await core.ledger.all("artifact")], wanted)
        manifest = Manifest.open(core.blobs.read(found.manifest_digest), core.trust.signing_keys())
    body = asdict(manifest)
    body.pop("class_accuracy")
    body |= by_class(manifest.worst_class, manifest.accuracy_by_label, Format.JSON)
    body["probe"] = {"count": manifest.probe.count, "tolerance": manifest.probe.tolerance}
    body["sketch"] = {"seed": manifest.sketch.seed, "features": len(manifest.sketch.edges)}
    emit({"digest": found.manifest_digest, "created": when(found.created_at), "weights": found.weights, **body}, format)


def _find(artifacts: list[Artifact], wanted: str) -> Artifact:
    """The newest of that name, or the only one whose digest begins so. Raises NotFound."""
    begins = wanted if wanted.startswith("sha256:") else f"sha256:{wanted}"
    named = [a for a in artifacts if a.name == wanted]
    digests = [a for a in artifacts if a.manifest_digest.startswith(begins)]
    if not named and len(digests) != 1:
        what = "is no artifact" if not digests else f"begins {len(digests)} digests"
        raise NotFound(f"artifact: {wanted!r} {what}", hint="littoral-cloud artifact list")
    return max(named, key=lambda a: a.created_at) if named else digests[0]


def _row(a: Artifact) -> dict[str, Any]:
    return {
        "name": a.name,
        "model": a.model,
        "runtime": a.runtime,
        "accuracy": a.accuracy,
        "bytes": a.artifact_bytes,
        "parameters": a.parameters,
        "created": when(a.created_at),
        "digest": a.manifest_digest.removeprefix("sha256:")[:12],
        "remarks": list(a.remarks),
    }
