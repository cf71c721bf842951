"""littoral-cloud release: makes, lists and withdraws releases."""

from __future__ import annotations

import asyncio
import getpass
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from littoral.errors import BadInput
from littoral_cloud.app import Core, open_core
from littoral_cloud.cli.command import command, fleet_of
from littoral_cloud.cli.figures import metric_of, worst_class_of
from littoral_cloud.cli.noun import noun
from littoral_cloud.client.fleet_client import FleetClient, part
from littoral_cloud.fleet.names import checked_name
from littoral_cloud.fleet.records import Release
from littoral_cloud.settings import CloudSettings, load_settings
from littoral_cloud.terminal.output import (
    DataDirOption,
    Format,
    FormatOption,
    by_class,
    emit,
    emit_parts,
    emit_remarks,
    notice,
    remarked,
    worth,
)
from littoral_cloud.terminal.text import when

app = noun("Manage releases: artifacts of one model for the fleet.", "littoral-cloud release list --model digits")

ReleaseArgument = Annotated[str, typer.Argument(help="The release's id.")]

_COLUMNS = ("id", "model", "kind", "artifacts", "created", "note", "withdrawn")


@app.command(epilog="Example: littoral-cloud release create --run digits-1f0c9a3e")
def create(
    run: Annotated[str | None, typer.Option(help="Release the result of this federated run.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Release this safetensors file; needs --data and --model.")] = None,
    architecture: Annotated[str | None, typer.Option(help="The architecture as JSON. Default: the one in the file.")] = None,
    data: Annotated[Path | None, typer.Option(help="The data set to measure and calibrate with.")] = None,
    model: Annotated[str | None, typer.Option(help="The name under which nodes serve the model.")] = None,
    artifact: Annotated[list[str] | None, typer.Option(help="Release this artifact, by its digest (repeatable).")] = None,
    note: Annotated[str, typer.Option(help="A note for people.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="With --run: release a result that is worse than its base, too.")] = False,
    data_dir: DataDirOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Make a release: export, measure and sign the weights of a run or a file, or take existing artifacts."""
    if sum(bool(source) for source in (run, weights, artifact)) != 1:
        raise BadInput("release: give one of --run, --weights and --artifact", hint="littoral-cloud release create --help")
    settings = load_settings(data_dir=data_dir)
    if weights is not None:
        if data is None or model is None:
            raise BadInput(
                "release: --weights needs --data and --model",
                hint="--data: its training data; --model: the name under which nodes serve it",
            )
        checked_name("model", model)
        asyncio.run(_from_weights(settings, weights, architecture, data, model, note, format))
    elif run is not None:
        asyncio.run(_from_run(data_dir, run, format, yes=yes))
    else:
        asyncio.run(_from_artifacts(data_dir, artifact or [], note, format))


async def _from_run(data_dir: Path | None, run_id: str, format: Format, *, yes: bool) -> None:
    async with fleet_of(data_dir) as fleet:
        made = await fleet.post(f"/runs/{part(run_id)}/release", {"worse_too": yes}, long=True)
        for note in made["notes"]:
            notice(note)
        print_release(await fleet.get(f"/releases/{part(made['release']['release_id'])}"), format)


async def _from_weights(
    settings: CloudSettings, path: Path, architecture: str | None, data: Path, model: str, note: str, format: Format
) -> None:
    from littoral_cloud.releases.release import release_weights
    from littoral_cloud.training.weights import arrays_from, load_weights, read_weights

    if architecture is None:
        arrays, spec = load_weights(path)
    else:
        spec = _architecture(architecture)
        arrays = arrays_from(read_weights(path), what=str(path))
    async with open_core(settings) as core:
        release = await release_weights(
            core,
            spec,
            arrays,
            core.clock(),
            data=str(data.resolve()),
            model=model,
            name=path.stem,
            note=note or path.name,
            actor=getpass.getuser(),
            tell=notice,
        )
        await _printed(core, release, format)


async def _printed(core: Core, release: Release, format: Format) -> None:
    from littoral_cloud.commands.releases import detail_of
    from littoral_cloud.commands.use_case import Office

    print_release(asdict(await detail_of(Office(core), release)), format)


async def _from_artifacts(data_dir: Path | None, artifacts: Sequence[str], note: str, format: Format) -> None:
    async with fleet_of(data_dir) as fleet:
        print_release(await fleet.post("/releases", {"artifacts": list(artifacts), "note": note}), format)


def _architecture(text: str) -> dict[str, Any]:
    try:
        spec = json.loads(text)
    except ValueError as error:
        raise BadInput(f"--architecture: {text[:80]!r} is not JSON", hint="""like '{"name": "compact_cnn"}'""") from error
    if not isinstance(spec, dict) or "name" not in spec:
        raise BadInput(
            "--architecture: must be an object with a name", hint='like \'{"name": "compact_cnn", "widths": [8, 16]}\''
        )
    return spec


@command(app, "list", example="release list --format json")
async def list_(fleet: FleetClient, format: FormatOption = Format.TABLE) -> None:
    """List all releases, oldest first."""
    found = await fleet.every("/releases")
    emit(found if format == Format.JSON else [_row(each) for each in found], format, columns=_COLUMNS, empty="no releases")


@command(app, example="release show digits-1")
async def show(fleet: FleetClient, release: ReleaseArgument, format: FormatOption = Format.TABLE) -> None:
    """Show a release and its artifacts."""
    print_release(await fleet.get(f"/releases/{part(release)}"), format)


@command(app, "withdraw", example="release withdraw digits-2 --why 'blind to sevens'")
async def withdraw_(
    fleet: FleetClient,
    release: ReleaseArgument,
    why: Annotated[str, typer.Option(help="The reason, for people and the audit trail.")],
    format: FormatOption = Format.TABLE,
) -> None:
    """Withdraw a release and stop its rollouts. Nodes that serve it continue; see rollout back."""
    gone = await fleet.post(f"/releases/{part(release)}/withdraw", {"why": why})
    serving, model = gone["served_by"], gone["release"]["model"]
    emit({**_row(gone["release"]), "rollouts_stopped": gone["rollouts_stopped"], "served_by": serving}, format)
    if not serving or format == Format.JSON:
        return
    way_back = f"littoral-cloud rollout back {model}"
    if gone["release_before"] is None:
        way_back = f"{gone['why_none']}: release another, and roll it out"
    emit(f"nodes that still serve it: {len(serving)}; next: {way_back}")


def print_release(found: Mapping[str, Any], format: Format) -> None:
    artifacts = found["artifacts"]
    rows = [
        {
            "name": a["name"],
            "runtime": a["runtime"],
            **worth(a["accuracy"], metric_of(a["metric"]), format, classes=a["class_accuracy"]),
            **by_class(worst_class_of(a["class_accuracy"]), a["class_accuracy"], format),
            "bytes": a["artifact_bytes"],
            "digest": a["manifest_digest"],
            **remarked(a["remarks"], format),
        }
        for a in artifacts
    ]
    emit_remarks((a["name"], a["remarks"]) for a in artifacts)
    emit_parts(_row(found["release"]), "artifacts", rows, format)


def _row(release: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": release["release_id"],
        "model": release["model"],
        "kind": release["kind"],
        "artifacts": len(release["artifacts"]),
        "created": when(release["created_at"]),
        "note": release["note"],
        "withdrawn": release["withdrawn"],
    }
