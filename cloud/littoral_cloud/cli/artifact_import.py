"""littoral-cloud artifact import: measures, quantizes and releases an ONNX file from elsewhere (docs/import.md)."""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from littoral.errors import BadInput
from littoral_cloud.terminal.output import (
    DataDirOption,
    Format,
    FormatOption,
    by_class,
    emit_parts,
    emit_remarks,
    notice,
    remarked,
)

if TYPE_CHECKING:
    from littoral_cloud.packaging.package import Packaged
    from littoral_cloud.settings import CloudSettings

EXAMPLE = "Example: littoral-cloud artifact import model.onnx --model parts --data parts.npz --prepare unit --rollout"


def import_(
    file: Annotated[Path, typer.Argument(help="The ONNX file; its weights may be in files beside it.")],
    model: Annotated[str, typer.Option(help="The name under which nodes serve the model.")],
    data: Annotated[
        Path | None, typer.Option(help="Data to measure and calibrate with: .npz with x (or the inputs' names) and y.")
    ] = None,
    task: Annotated[str, typer.Option(help="The task: classification, regression, detection or custom.")] = "classification",
    metric: Annotated[
        str, typer.Option(help="accuracy, worst-class, rmse, mae, r2, or package.module:function. Default: the task's metric.")
    ] = "",
    lower_is_better: Annotated[
        bool, typer.Option("--lower-is-better", help="Your own metric is better when it is lower.")
    ] = False,
    labels: Annotated[Path | None, typer.Option(help="A file with the class names, one a line, in the model's order.")] = None,
    output: Annotated[str, typer.Option(help="The output to measure. Default: the first.")] = "",
    prepare: Annotated[str, typer.Option(help="How bytes become floats: raw, or unit (divided by 255).")] = "",
    mean: Annotated[
        str, typer.Option(help="The mean of pixels divided by 255: one number, or one for each channel, like 0.485,0.456,0.406.")
    ] = "",
    std: Annotated[str, typer.Option(help="The standard deviation, like --mean.")] = "",
    size: Annotated[
        list[str] | None, typer.Option(help="The size of an input without --data, like NAME=1,3,224,224 (repeatable).")
    ] = None,
    name: Annotated[str, typer.Option(help="The artifacts' name. Default: the file's.")] = "",
    memory: Annotated[
        int, typer.Option(help="The memory limit for opening and running the model here, bytes.", min=1 << 28, max=1 << 50)
    ] = 4 << 30,
    seconds: Annotated[
        float, typer.Option(help="The time limit for each call of the model here, seconds.", min=1.0, max=86_400.0)
    ] = 300.0,
    int8_loss: Annotated[
        float, typer.Option(help="The share of the metric that int8 may lose; above it int8 is not released.", min=0.0, max=1.0)
    ] = 0.05,
    yes: Annotated[
        bool, typer.Option("--yes", help="Release a model, with a remark, whose answers are mostly not numbers.")
    ] = False,
    rollout: Annotated[bool, typer.Option("--rollout", help="Also start a rollout of the release.")] = False,
    data_dir: DataDirOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Measure, quantize and release a model from elsewhere, with any inputs and outputs. Trains nothing.

    A child process with limits on memory and time opens the file. Nodes serve the model with its own inputs and outputs.
    """
    from littoral_cloud.fleet.telemetry import check_model_name
    from littoral_cloud.foreign.importing import import_model
    from littoral_cloud.foreign.labels import read_labels
    from littoral_cloud.foreign.opened import ForeignLimits
    from littoral_cloud.foreign.plan import ImportPlan
    from littoral_cloud.foreign.samples import ByteScaling
    from littoral_cloud.settings import load_settings

    settings = load_settings(data_dir=data_dir)
    plan = ImportPlan(
        model=check_model_name(model, "--model"),
        name=name,
        task=task,
        metric=metric,
        lower_is_better=lower_is_better,
        labels=read_labels(labels) if labels else (),
        output=output,
        preparation=ByteScaling(prepare, _floats(mean, "--mean"), _floats(std, "--std")),  # type: ignore[arg-type]  # checked there
        sizes=dict(_size(entry) for entry in size or ()),
        limits=ForeignLimits(memory, seconds),
        int8_loss=int8_loss,
        anyway=yes,
    )
    made = import_model(file, plan, data=data, tell=notice)
    taken, released = asyncio.run(_released(settings, made, plan.model, file, data, rollout))
    rows = [_row(packaged, format) for packaged in taken]
    emit_remarks((packaged.manifest.name, packaged.manifest.remarks) for packaged in taken)
    emit_parts(released, "artifacts", rows, format)


async def _released(
    settings: CloudSettings, made: Sequence[Packaged], model: str, file: Path, data: Path | None, rollout: bool
) -> tuple[Sequence[Packaged], dict[str, Any]]:
    """Releases the artifacts that a node accepts."""
    from littoral_cloud.app import open_core
    from littoral_cloud.packaging.node_check import taken_by_a_node
    from littoral_cloud.releases.catalogue import create_release, publish
    from littoral_cloud.rollouts.commands import policy_with, start_rollout

    made = await taken_by_a_node(made, notice)
    where, actor = str(data.resolve()) if data else "", getpass.getuser()
    async with open_core(settings) as core:
        now = core.clock()
        digests = [(await publish(core, packaged, now, data=where, actor=actor)).manifest_digest for packaged in made]
        release = await create_release(core.ledger, model, digests, "manual", f"imported {file.name}", now, actor=actor)
        policy, above = policy_with(settings.probation_s), settings.approval_above
        started = await start_rollout(core.ledger, release, now, policy, approval_above=above) if rollout else ""
    return made, {"release": release.release_id, "rollout": started}


def _row(packaged: Packaged, format: Format) -> dict[str, Any]:
    manifest = packaged.manifest
    signature, metric = manifest.signature, manifest.metric
    assert signature is not None
    measured = bool(manifest.accuracy_examples)
    row: dict[str, Any] = {
        "name": manifest.name,
        "task": manifest.task,
        "accuracy": manifest.accuracy if measured and not manifest.metric else None,
        **by_class(manifest.worst_class, manifest.accuracy_by_label, format),
        "metric": asdict(metric) if metric and format == Format.JSON else _metric(metric) if measured else None,
        "examples": manifest.accuracy_examples,
        **remarked(manifest.remarks, format),
        "bytes": manifest.artifact_bytes,
        "inputs": [f"{spec.name} {spec.datatype} {spec.sizes}" for spec in signature.inputs],
        "outputs": [f"{spec.name} {spec.datatype} {spec.sizes}" for spec in signature.outputs],
    }
    return row if format == Format.JSON else {k: v for k, v in row.items() if k not in ("inputs", "outputs") or v}


def _metric(metric: Any) -> str | None:
    return f"{metric.name} {metric.value:.6g}" if metric else None


def _floats(text: str, option: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise BadInput(f"{option}: {text!r} must be numbers", hint=f"{option} 0.485,0.456,0.406") from error


def _size(text: str) -> tuple[str, tuple[int, ...]]:
    name, equals, sizes = text.partition("=")
    try:
        if not equals:
            raise ValueError
        return name, tuple(int(part) for part in sizes.split(",") if part.strip())
    except ValueError as error:
        raise BadInput(f"--size: {text!r} is not NAME=NUMBER,...", hint="--size images=1,3,224,224") from error
