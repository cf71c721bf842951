"""littoral-cloud artifact import: measures, quantizes and releases an ONNX file from elsewhere (docs/import.md)."""

from __future__ import annotations

import asyncio
import mmap
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from littoral.errors import BadInput, NotFound
from littoral_cloud.cli.command import fleet_of
from littoral_cloud.cli.figures import metric_of, worst_class_of
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
    from littoral.manifest import Manifest
    from littoral_cloud.foreign.plan import ImportPlan

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

    The file goes to the coordinator; a child process there, with limits on memory and time, opens it.
    Nodes serve the model with its own inputs and outputs.
    """
    from littoral_cloud.fleet.telemetry import check_model_name
    from littoral_cloud.foreign.labels import read_labels
    from littoral_cloud.foreign.opened import ForeignLimits
    from littoral_cloud.foreign.plan import ImportPlan
    from littoral_cloud.foreign.samples import ByteScaling

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
    if not file.is_file():
        raise NotFound(f"import: {file} is not a file", hint="name an .onnx file")
    if ":" in metric or (data is not None and not data.is_file()):  # your own function runs on your own machine
        told = asyncio.run(_made_here(data_dir, file, plan, data, rollout))
    else:
        told = asyncio.run(_sent(data_dir, file, plan, data, rollout))
    artifacts = told.pop("artifacts")
    emit_remarks((each["name"], each["remarks"]) for each in artifacts)
    emit_parts(told, "artifacts", [_row(each, format) for each in artifacts], format)


async def _sent(data_dir: Path | None, file: Path, plan: ImportPlan, data: Path | None, rollout: bool) -> dict[str, Any]:
    """The coordinator imports it."""
    from littoral.digest import digest_of_file
    from littoral_cloud.client.files import upload

    beside = await asyncio.to_thread(_beside, file)
    async with fleet_of(data_dir, makes=True) as fleet:

        async def sent(path: Path) -> str:
            digest = await asyncio.to_thread(digest_of_file, path)
            await upload(fleet, digest, path)
            return digest

        body = {
            "model": plan.model,
            "file": await sent(file),
            "file_name": file.name,
            "beside": {path.name: await sent(path) for path in beside},
            "data": await sent(data) if data is not None else "",
            "data_name": data.name if data is not None else "",
            "task": plan.task,
            "metric": plan.metric,
            "labels": plan.labels,
            "output": plan.output,
            "prepare": plan.preparation.scale,
            "mean": plan.preparation.mean,
            "std": plan.preparation.std,
            "sizes": plan.sizes,
            "name": plan.name,
            "memory_bytes": plan.limits.memory,
            "seconds": plan.limits.seconds,
            "int8_loss": plan.int8_loss,
            "anyway": plan.anyway,
            "rollout": rollout,
        }
        found = await fleet.post("/artifacts/import", body, long=True)
    for note in found["notes"]:
        notice(note)
    told = [
        {**each["artifact"], **{name: each[name] for name in ("examples", "inputs", "outputs")}} for each in found["artifacts"]
    ]
    return {"release": found["release"], "rollout": found["rollout"], "artifacts": told}


async def _made_here(data_dir: Path | None, file: Path, plan: ImportPlan, data: Path | None, rollout: bool) -> dict[str, Any]:
    """It is imported in this process; the coordinator tests, signs and releases what was made."""
    from littoral_cloud.client.push import Pushed, push_artifacts, push_release
    from littoral_cloud.foreign.importing import import_model

    made = import_model(file, plan, data=data, tell=notice)
    async with fleet_of(data_dir, makes=True) as fleet:
        taken = await push_artifacts(fleet, [Pushed(packaged) for packaged in made], notice)
        digests = [digest for _, digest in taken]
        released = await push_release(fleet, digests, "manual", f"imported {file.name}", rollout=rollout)
    return {**released, "artifacts": [_told(each.packaged.manifest) for each, _ in taken]}


def _beside(file: Path) -> list[Path]:
    """Files in the same folder whose names stand in the model: its weights may be in them."""
    with file.open("rb") as opened:
        if not file.stat().st_size:
            return []
        with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
            others = (path for path in sorted(file.parent.iterdir()) if path != file and path.is_file())
            return [path for path in others if content.find(path.name.encode()) >= 0]


def _told(manifest: Manifest) -> dict[str, Any]:
    """As the API tells it."""
    signature = manifest.signature
    assert signature is not None
    return {
        "name": manifest.name,
        "task": manifest.task,
        "accuracy": manifest.accuracy,
        "class_accuracy": manifest.accuracy_by_label,
        "metric": asdict(manifest.metric) if manifest.metric else None,
        "examples": manifest.accuracy_examples,
        "remarks": manifest.remarks,
        "artifact_bytes": manifest.artifact_bytes,
        "inputs": [f"{spec.name} {spec.datatype} {spec.sizes}" for spec in signature.inputs],
        "outputs": [f"{spec.name} {spec.datatype} {spec.sizes}" for spec in signature.outputs],
    }


def _row(told: Mapping[str, Any], format: Format) -> dict[str, Any]:
    metric = metric_of(told["metric"])
    measured = bool(told["examples"])
    row: dict[str, Any] = {
        "name": told["name"],
        "task": told["task"],
        "accuracy": told["accuracy"] if measured and metric is None else None,
        **by_class(worst_class_of(told["class_accuracy"]), told["class_accuracy"], format),
        "metric": asdict(metric) if metric and format == Format.JSON else _metric(metric) if measured else None,
        "examples": told["examples"],
        **remarked(told["remarks"], format),
        "bytes": told["artifact_bytes"],
        "inputs": told["inputs"],
        "outputs": told["outputs"],
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
