"""littoral-cloud release: models that may go out together."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from cloud.app import open_core
from cloud.cli.output import DataDirOption, Format, FormatOption, emit, when
from cloud.fleet.records import Release
from cloud.fleet.releases import all_releases, read_artifact, read_release
from cloud.settings import Settings, load_settings

app = typer.Typer(help="Models that may go out together.", no_args_is_help=True, rich_markup_mode=None)


@app.command(epilog="Example: littoral-cloud release create --run digits-run-1")
def create(
    run: Annotated[str, typer.Option(help="The federated run whose result is exported, quantized, measured and signed.")],
    data_dir: DataDirOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Make a release of what the fleet learnt. Asking again gives the same release."""
    asyncio.run(_create(load_settings(data_dir=data_dir), run, format))


async def _create(settings: Settings, run_id: str, format: Format) -> None:
    from cloud.factory.release import release_run  # torch: only where something is made
    from cloud.federation.run import read_run

    async with open_core(settings) as core:
        emit(_row(await release_run(core, await read_run(core.ledger, run_id), core.clock())), format)


@app.command("list", epilog="Example: littoral-cloud release list --format json")
def list_(data_dir: DataDirOption = None, format: FormatOption = Format.TABLE) -> None:
    """Every release, oldest first."""
    asyncio.run(_list(load_settings(data_dir=data_dir), format))


async def _list(settings: Settings, format: Format) -> None:
    async with open_core(settings) as core:
        emit([_row(release) for release in await all_releases(core.ledger)], format)


@app.command(epilog="Example: littoral-cloud release show digits-1")
def show(
    release: Annotated[str, typer.Argument(help="Its id.")],
    data_dir: DataDirOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """The artifacts of a release."""
    asyncio.run(_show(load_settings(data_dir=data_dir), release, format))


async def _show(settings: Settings, release_id: str, format: Format) -> None:
    async with open_core(settings) as core:
        release = await read_release(core.ledger, release_id)
        artifacts = [await read_artifact(core.ledger, digest) for digest in release.artifacts]
    emit(
        [
            {
                "artifact": a.name,
                "runtime": a.runtime,
                "accuracy": round(a.accuracy, 4),
                "bytes": a.artifact_bytes,
                "digest": a.manifest_digest,
            }
            for a in artifacts
        ],
        format,
    )


def _row(release: Release) -> dict[str, object]:
    return {
        "id": release.release_id,
        "model": release.model,
        "kind": release.kind,
        "artifacts": len(release.artifacts),
        "created": when(release.created_at),
        "note": release.note,
    }
