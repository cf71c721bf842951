"""Whether each runtime answers as torch does: top-1 on all 10,000 test images of MNIST, by the agent's own code.

Every architecture for images that has a recipe is trained for a short while (two epochs; what is compared is one network with
itself, in another form), exported in every variant, loaded as an agent loads it, and asked. A runtime that this machine does not
have is not run: its artifacts are calculated as they are written (docs/runtimes.md), stand in the table as that, and count in no
figure.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from bench.factory.kept import Kept, Row, tell
from bench.factory.specs import ARCHITECTURES
from bench.factory.tables import Part, data
from bench.report import Cell, Figure, Table
from littoral.digest import digest_of
from littoral.manifest import FULL_RANGE, File, Manifest, Output
from littoral.probe import NO_PROBE
from littoral_cloud.export.exported import OUTPUT_NAME, Exported
from littoral_cloud.fleet.limits import DOT_PRODUCTS
from littoral_cloud.packaging.package import EXPORTERS, RUNNERS, Bench
from littoral_cloud.training.schedule import Schedule
from littoral_cloud.training.train import Trained, logits_of, taught
from littoral_cloud.training.trainer import Trainer
from littoral_node.machine.hardware import isa
from littoral_node.runtimes import load, ran_on, version, why_not

EPOCHS, SEED = 2, 1
SCHEDULE = Schedule(batch=128, learning_rate=4e-3)
SPECS: Mapping[str, Mapping[str, Any]] = {
    "perceptron": ARCHITECTURES["perceptron"],
    "lenet_300_100": {"name": "lenet_300_100"},  # the paper's own: cut small it is the perceptron above, weight for weight
    **{name: ARCHITECTURES[name] for name in ("lenet5", "mobilenet_v1", "compact_cnn")},
}
"""Those that have a recipe."""
QUICK = ("perceptron",)
ROOT = Path("build/bench/edge")
ROWS = 500
"""Images in one request."""
_CODE = (
    __name__,
    *(f"littoral_cloud.export.{name}" for name in ("onnx", "lean", "ncnn", "coreml", "coreml_reading", "tensorrt", "exported")),
    "littoral_cloud.export.int8",
    *(f"littoral_node.runtimes.{name}" for name in ("onnx_runtime", "ncnn_runtime")),
)
COLUMNS = ("architecture", "variant", "runs in", "file B", "accuracy %", "top-1 as torch %", "furthest logit", "counts in")


@cache
def _bench() -> Bench:
    return Bench.of(data())


def made(*, quick: bool = False) -> Part:
    kept = Kept("agreement", root=ROOT)
    rows: list[Row] = []
    for name in QUICK if quick else SPECS:
        spec = SPECS[name]
        settings = {
            "spec": spec,
            "epochs": EPOCHS,
            "seed": SEED,
            "schedule": str(SCHEDULE),
            "isa": _isa(),
            "versions": _versions(),
        }
        rows += kept.row(name, settings, _CODE, lambda spec=spec: _rows(spec, kept), trainings=[name])["rows"]
    table = Table("Agreement with torch, top-1 on 10,000 test images", COLUMNS, [_cells(row) for row in rows], _notes())
    return Part(table, _figures(rows), kept.seconds)


def _figures(rows: Sequence[Row]) -> Mapping[str, Figure]:
    figures = {}
    for kind in ("float", "int8"):
        worst = min((row for row in rows if row["counts"] == kind), key=lambda row: float(row["agrees"]))
        count = sum(row["counts"] == kind for row in rows)
        note = f"the lowest of {count} artifacts that ran: {worst['architecture']} as {worst['variant']}"
        figures[f"agreement_{kind}_min"] = Figure.of(float(worst["agrees"]), "of the test images", "higher", note)
    return figures


def _notes() -> list[str]:
    dot = sorted(set(_isa()) & set(DOT_PRODUCTS))
    here = f"this processor has {', '.join(dot)}" if dot else "this processor has neither VNNI nor ARM's dot product"
    return [
        f"onnx-int8 and onnx-int8-dynamic are right on every processor, onnx-int8-full on some; {here}.",
        "A row that counts in nothing was not run by its runtime: Core ML's package was read operation by operation in "
        "torch, and TensorRT's graph was calculated in float32 on the CPU.",
    ]


def _rows(spec: Mapping[str, Any], kept: Kept) -> Row:
    trainer = Trainer(data(), threads=1, checkpoints=kept.checkpoints, progress=kept.watch)
    network = taught(trainer, spec, name=str(spec["name"]), epochs=EPOCHS, schedule=SCHEDULE, seed=SEED)
    wanted = logits_of(network.module, network.input, data().test_x)
    found = []
    for variant in EXPORTERS:
        tell(f"  {spec['name']}: {variant}")
        found.append(_row(network, variant, wanted))
    return {"rows": found}


def _row(network: Trained, variant: str, wanted: Any) -> Row:
    made: Exported = EXPORTERS[variant](network.module, _bench().input, calibration=_bench().calibration)
    runs = why_not(made.runtime) is None and not (made.requires.get(FULL_RANGE) and not set(_isa()) & set(DOT_PRODUCTS))
    given, where = _by_the_agent(network, made) if runs else _as_written(made)
    return {
        "architecture": network.spec["name"],
        "variant": variant,
        "where": where,
        "bytes": made.bytes,
        "accuracy": float((given.argmax(1) == data().test_y).mean()),
        "agrees": float((given.argmax(1) == wanted.argmax(1)).mean()),
        "furthest": float(np.abs(given - wanted).max() / np.abs(wanted).max()),
        "counts": ("int8" if "int8" in variant else "float") if runs else "",
    }


def _by_the_agent(network: Trained, made: Exported) -> tuple[Any, str]:
    """Logits, and where they come from."""
    with tempfile.TemporaryDirectory(prefix="littoral-bench-") as scratch:
        for name, content in made.files.items():
            Path(scratch, name).write_bytes(content)
        model = load(_manifest(network, made), Path(scratch), 1)
        try:
            prepared = _bench().test
            parts = [model.infer(prepared[i : i + ROWS]) for i in range(0, len(prepared), ROWS)]
            return np.concatenate(parts), f"{made.runtime} on {ran_on(model)[0]}"
        finally:
            model.close()


def _as_written(made: Exported) -> tuple[Any, str]:
    return RUNNERS[made.runtime](made, _bench().test), f"not in {made.runtime}"


def _manifest(network: Trained, made: Exported) -> Manifest:
    """What a runtime reads of a manifest; nothing is measured, and nothing sent."""
    return Manifest(
        model="digits",
        name=network.name,
        architecture=network.spec,
        parameters=network.parameters,
        runtime=made.runtime,
        runtime_options=made.runtime_options,
        requires=made.requires,
        files=tuple(File(name, digest_of(content), len(content)) for name, content in made.files.items()),
        input=network.input,
        output=Output(OUTPUT_NAME, data().labels),
        accuracy=0.0,
        accuracy_examples=0,
        probe=NO_PROBE,
        sketch=_bench().sketch,
    )


@cache
def _isa() -> tuple[str, ...]:
    info = Path("/proc/cpuinfo")
    return isa(info.read_text()) if info.exists() else ()


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("onnxruntime", "ncnn")}


def _cells(row: Row) -> list[Cell]:
    shares = [f"{100 * row[name]:.2f}" for name in ("accuracy", "agrees")]
    return [
        row["architecture"],
        row["variant"],
        row["where"],
        row["bytes"],
        *shares,
        f"{row['furthest']:.1e}",
        row["counts"] or "-",
    ]
