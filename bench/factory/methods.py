"""Every architecture by every method: how right, how large, how fast, and whether the runtimes answer as torch does.

Every network has one epoch, and one more for what a method trains: rows are there to be compared with one another,
not with the longest training that each could have. The test images are read for these figures alone; nothing is chosen by them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from torch import nn

from bench.factory.coded import CODED, travels
from bench.factory.kept import Kept, Row, write
from bench.factory.specs import ARCHITECTURES
from bench.factory.tables import Part, data
from bench.factory.teacher import answers
from bench.report import Cell, Table
from littoral.architectures import REGISTRY
from littoral.digest import digest_of
from littoral.errors import BadInput, RuntimeFailure
from littoral_cloud.compression.methods import METHODS, method_from
from littoral_cloud.export.exported import Exported, Prepared
from littoral_cloud.packaging.latency import compare
from littoral_cloud.packaging.macs import macs_of
from littoral_cloud.packaging.package import EXPORTERS, RUNNERS, Bench
from littoral_cloud.training.schedule import Schedule
from littoral_cloud.training.train import Trained, accuracy_of, logits_of, taught
from littoral_cloud.training.trainer import Trainer

EPOCHS, SEED = 1, 1
SCHEDULE = Schedule(batch=128, learning_rate=4e-3)
FINE = {"epochs": 1, "seed": SEED, "schedule": {"batch": 128, "learning_rate": 1e-3}}


@dataclass(frozen=True, slots=True)
class Way:
    """How a network becomes an artifact. All but the first begin with the distilled one."""

    name: str
    method: Mapping[str, Any] = field(default_factory=dict)
    variant: str = "onnx"
    ncnn: bool = True  # the same network can be shown in ncnn


COLUMNS = (
    "architecture",
    "method",
    "accuracy %",
    "worst class %",
    "parameters",
    "MACs",
    "file B",
    "travels B",
    "onnxruntime p50 us",
    "ncnn p50 us",
    "agrees with torch %",
    "ncnn agrees %",
)

LABELS, DISTILLED = Way("labels alone"), Way("distilled")
WAYS = (
    LABELS,
    DISTILLED,
    Way("magnitude 80 %", {"kind": "magnitude", "sparsity": 0.8, **FINE}),
    Way("channels halved", {"kind": "channels", "ratio": 0.5, **FINE}),
    Way("int8 static", variant="onnx-int8", ncnn=False),
    Way("int8 dynamic", variant="onnx-int8-dynamic", ncnn=False),
    Way("int8 QAT", {"kind": "qat", **FINE}, variant="onnx-int8", ncnn=False),
    Way("codebook 4 bit", {"kind": "weight-sharing", "bits": 4, **FINE}),
)


def train() -> None:
    """All networks, which are kept; no times are taken."""
    kept = Kept("methods")
    for name, spec in ARCHITECTURES.items():
        _rows(kept, name, spec)


def _rows(kept: Kept, name: str, spec: Mapping[str, Any]) -> dict[str, Row]:
    return {way.name: _row(kept, name, spec, way) for way in WAYS}


def made(*, full: bool) -> Part:
    kept = Kept("methods")
    rows: list[list[Cell]] = []
    cannot: list[str] = []
    for name, spec in ARCHITECTURES.items():
        found = _rows(kept, name, spec)
        times, coded = _times(kept, name, found), _coded(kept, name, found)
        rows += [_cells(name, way, row, times, coded) for way, row in found.items()]
        cannot += [f"{name}, {way}: {row['why']}" for way, row in found.items() if "why" in row]
    table = Table(
        "Every architecture by every method, on MNIST",
        COLUMNS,
        rows,
        (
            f"{EPOCHS} epoch each, and one more for what a method trains; every method but labels alone begins with the"
            " distilled network. One seed.",
            "File: the ONNX file as it lies on the disk. Travels: the same, coded. Agrees: test images with the same first class"
            " in the runtime as in torch (for int8, the float network in torch).",
            "p50: batch 1, one thread; the artifacts of one architecture were timed in turns.",
            *cannot,
        ),
    )
    return Part(table, {}, kept.seconds)


def _code(spec: Mapping[str, Any], way: Way) -> list[str]:
    exporter = EXPORTERS[way.variant].__module__
    method = [METHODS[way.method["kind"]].partition(":")[0]] if way.method else []
    shared = {
        "bench.factory.methods",
        "littoral_cloud.training.schedule",
        "littoral_cloud.training.trainer",
        "littoral_cloud.export.onnx",
        "littoral_cloud.export.ncnn",
    }
    return sorted({*shared, REGISTRY[str(spec["name"])], exporter, *method})


def _row(kept: Kept, name: str, spec: Mapping[str, Any], way: Way) -> Row:
    """Trains, exports and judges; the artifacts stay in the table's folder."""
    slug = f"{name}-{way.name}".replace(" ", "-").replace("%", "pct")
    base = LABELS if way is LABELS else DISTILLED
    settings = {"spec": spec, "way": asdict(way), "epochs": EPOCHS, "seed": SEED, "schedule": asdict(SCHEDULE)}
    settings |= {"teacher": answers().digest if base is DISTILLED else None}
    trainings = []
    if way.method:
        trainings = [f"{_base_name(name, base)}-{way.method['kind']}"]
    elif way is base:
        trainings = [_base_name(name, base)]

    def make() -> Row:
        try:
            return _made(kept, name, spec, way, base, kept.folder / "artifacts" / slug)
        except (BadInput, RuntimeFailure) as error:
            return {"why": str(error)}

    row = kept.row(slug, settings, _code(spec, way), make, trainings=trainings)
    return row | {"folder": str(kept.folder / "artifacts" / slug)}


def _base_name(name: str, base: Way) -> str:
    return f"{name}-{'labels' if base is LABELS else 'distilled'}"


def _made(kept: Kept, name: str, spec: Mapping[str, Any], way: Way, base: Way, folder: Path) -> Row:
    trainer = Trainer(data(), answers() if base is DISTILLED else None, checkpoints=kept.checkpoints, progress=kept.watch)
    student = taught(trainer, spec, name=_base_name(name, base), epochs=EPOCHS, schedule=SCHEDULE, seed=SEED)
    if way.method:
        student = method_from(way.method, "bench").apply(student, trainer)
    return judged(student, way, folder)


def judged(student: Trained, way: Way, folder: Path) -> Row:
    """What the table says of one network, but for its latency."""
    bench, test = _bench(), data().test_y
    truth = logits_of(student.module, student.input, data().test_x).argmax(axis=1)
    artifact = exported(student.module, way.variant)
    logits = RUNNERS[artifact.runtime](artifact, bench.test)
    right = logits.argmax(axis=1) == test
    save(artifact, folder / "onnx")
    row: Row = {
        "accuracy": accuracy_of(logits, test),
        "worst": min(float(right[test == c].mean()) for c in range(data().classes)),
        "parameters": student.parameters,
        "macs": macs_of(student.module, data().shape),
        "file": artifact.bytes,
        "agreement": float((logits.argmax(axis=1) == truth).mean()),
        "ncnn_agreement": None,
    }
    if way.ncnn:
        other = exported(student.module, "ncnn")
        save(other, folder / "ncnn")
        row["ncnn_agreement"] = float((RUNNERS["ncnn"](other, bench.test).argmax(axis=1) == truth).mean())
    return row


def exported(module: nn.Module, variant: str) -> Exported:
    artifact: Exported = EXPORTERS[variant](module, _bench().input, calibration=_bench().calibration)
    return artifact


@cache
def _bench() -> Bench:
    return Bench.of(data())


def prepared_test() -> Prepared:
    return _bench().test


def save(artifact: Exported, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for path, content in artifact.files.items():
        (folder / path).write_bytes(content)
    about = {"runtime": artifact.runtime, "files": sorted(artifact.files), "options": dict(artifact.runtime_options)}
    write(folder / "artifact.json", about)


def load(folder: Path) -> Exported | None:
    if not (folder / "artifact.json").is_file():
        return None
    about = json.loads((folder / "artifact.json").read_text())
    return Exported(about["runtime"], {path: (folder / path).read_bytes() for path in about["files"]}, about["options"])


def _artifacts(found: Mapping[str, Row]) -> dict[str, Exported]:
    """By folder, of all that were made of one architecture."""
    places = [Path(row["folder"], runtime) for row in found.values() for runtime in ("onnx", "ncnn") if "why" not in row]
    return {str(place): artifact for place in places if (artifact := load(place)) is not None}


def _times(kept: Kept, name: str, found: Mapping[str, Row]) -> Row:
    """p50 in microseconds by folder of the artifact; all of one architecture in turns."""
    artifacts = _artifacts(found)

    def make() -> Row:
        times = compare(artifacts, _bench().test[:200], rounds=7, each=150)
        return {place: 1000 * time.p50_ms for place, time in times.items()}

    return kept.row(f"{name}-times", _digests(artifacts), ["littoral_cloud.packaging.latency"], make)


def _coded(kept: Kept, name: str, found: Mapping[str, Row]) -> Row:
    """Bytes that travel by folder of the artifact, of those for onnxruntime."""
    artifacts = {place: artifact for place, artifact in _artifacts(found).items() if artifact.runtime == "onnxruntime"}

    def make() -> Row:
        return {place: travels(artifact) for place, artifact in artifacts.items()}

    return kept.row(f"{name}-coded", _digests(artifacts), CODED, make)


def _digests(artifacts: Mapping[str, Exported]) -> dict[str, list[str]]:
    return {place: [digest_of(content) for _, content in sorted(a.files.items())] for place, a in artifacts.items()}


def _cells(name: str, way: str, row: Row, times: Row, coded: Row) -> list[Cell]:
    if "why" in row:
        return [name, way, "cannot, see below", *([None] * (len(COLUMNS) - 3))]
    onnx, ncnn = (str(Path(row["folder"], runtime)) for runtime in ("onnx", "ncnn"))

    def percent(value: float | None) -> float | None:
        return None if value is None else 100 * value

    return [
        name,
        way,
        percent(row["accuracy"]),
        percent(row["worst"]),
        row["parameters"],
        row["macs"],
        row["file"],
        coded[onnx],
        times[onnx],
        times.get(ncnn),
        percent(row["agreement"]),
        percent(row["ncnn_agreement"]),
    ]
