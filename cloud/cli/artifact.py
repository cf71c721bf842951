"""littoral-cloud artifact: signed models."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated

import typer

from cloud.app import open_core
from cloud.cli.output import DataDirOption, Format, FormatOption, emit, when
from cloud.fleet.records import Artifact, load
from cloud.settings import Settings, load_settings
from littoral.errors import NotFound
from littoral.manifest import Manifest

app = typer.Typer(help="Signed models.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list", epilog="Example: littoral-cloud artifact list --format json")
def list_(data_dir: DataDirOption = None, format: FormatOption = Format.TABLE) -> None:
    """Every artifact, oldest first."""
    asyncio.run(_list(load_settings(data_dir=data_dir), format))


async def _list(settings: Settings, format: Format) -> None:
    async with open_core(settings) as core:
        found = sorted((load(Artifact, doc) for doc in await core.ledger.all("artifact")), key=lambda a: (a.created_at, a.name))
    rows = [
        {
            "name": a.name,
            "model": a.model,
            "runtime": a.runtime,
            "accuracy": round(a.accuracy, 4),
            "bytes": a.artifact_bytes,
            "created": when(a.created_at),
            "digest": a.manifest_digest,
        }
        for a in found
    ]
    emit(rows, format)


@app.command(epilog="Example: littoral-cloud artifact show cnn-onnx-int8")
def show(
    artifact: Annotated[str, typer.Argument(help="Its name, its digest, or the beginning of its digest.")],
    data_dir: DataDirOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """What its signed manifest says. The signature is checked first."""
    asyncio.run(_show(load_settings(data_dir=data_dir), artifact, format))


async def _show(settings: Settings, wanted: str, format: Format) -> None:
    async with open_core(settings) as core:
        known = [load(Artifact, doc) for doc in await core.ledger.all("artifact")]
        found = [
            a
            for a in known
            if a.name == wanted or a.manifest_digest.removeprefix("sha256:").startswith(wanted.removeprefix("sha256:"))
        ]
        if not found:
            raise NotFound(f"artifact {wanted!r}: there is none", hint="littoral-cloud artifact list")
        newest = max(found, key=lambda a: (a.created_at, a.manifest_digest))
        manifest = Manifest.open(core.blobs.read(newest.manifest_digest), core.trust.signing_keys())
    body = asdict(manifest)
    del body["probe"], body["sketch"]  # numbers for machines
    emit({"digest": newest.manifest_digest, **body}, format)
