"""What pruning does to latency, in both runtimes: zeros spread over the weights leave the same work to be done, channels taken
out do not.

The claim is the field's: H. Li et al.: Pruning Filters for Efficient ConvNets, 2017, https://arxiv.org/abs/1608.08710 (section
1); W. Wen et al.: Learning Structured Sparsity in Deep Neural Networks, 2016, https://arxiv.org/abs/1608.03665 (figure 1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from bench.factory.kept import Kept, Row
from bench.factory.methods import EPOCHS, FINE, SCHEDULE, SEED, exported, prepared_test
from bench.factory.tables import Part, data
from bench.factory.teacher import answers
from bench.report import Cell, Figure, Table
from littoral.architectures import REGISTRY
from littoral_cloud.compression.methods import METHODS, method_from
from littoral_cloud.packaging.latency import compare
from littoral_cloud.packaging.macs import macs_of
from littoral_cloud.packaging.package import RUNNERS
from littoral_cloud.training.train import Trained, accuracy_of, taught
from littoral_cloud.training.trainer import Trainer

NETS: Mapping[str, Mapping[str, Any]] = {
    "lenet5": {"name": "lenet5"},
    "compact_cnn": {"name": "compact_cnn", "widths": [32, 64, 96, 128]},
}
WAYS: Mapping[str, Mapping[str, Any]] = {
    "dense": {},
    "half of the weights 0": {"kind": "magnitude", "sparsity": 0.5, **FINE},
    "90 % of the weights 0": {"kind": "magnitude", "sparsity": 0.9, **FINE},
    "half of the channels": {"kind": "channels", "ratio": 0.5, **FINE},
}
RUNTIMES = {"onnx": "onnxruntime", "ncnn": "ncnn"}


def made(*, full: bool) -> Part:
    kept = Kept("pruning")
    rows: list[list[Cell]] = []
    sparse: list[float] = []
    narrow: list[float] = []
    for name, spec in NETS.items():
        found = _row(kept, name, spec)
        for way, row in found.items():
            speed = {variant: found["dense"]["p50_us"][variant] / row["p50_us"][variant] for variant in RUNTIMES}
            cells = [cell for variant in RUNTIMES for cell in (row["p50_us"][variant], speed[variant])]
            rows.append([name, way, 100 * row["accuracy"], row["not_zero"], row["macs"], *cells])
            if way != "dense":
                (narrow if WAYS[way]["kind"] == "channels" else sparse).extend(speed.values())
    times = [column for runtime in RUNTIMES.values() for column in (f"{runtime} p50 us", "times as fast")]
    table = Table(
        "Pruning and latency as measured: zeros, and channels taken out",
        ("architecture", "pruned", "accuracy %", "weights not 0", "MACs", *times),
        rows,
        ("Batch 1, one thread; all of one architecture timed in turns, the median round. Times as fast: as the dense network.",),
    )
    figures = {
        "speedup_by_zeros": Figure(tuple(sparse), "times as fast", "higher", "half and 90 % zeros, two nets, both runtimes"),
        "speedup_by_channels": Figure(tuple(narrow), "times as fast", "higher", "half of the channels, two nets, both runtimes"),
    }
    return Part(table, figures, kept.seconds)


def _row(kept: Kept, name: str, spec: Mapping[str, Any]) -> Row:
    settings = {"spec": spec, "ways": WAYS, "epochs": EPOCHS, "schedule": asdict(SCHEDULE), "teacher": answers().digest}
    code = [
        "bench.factory.pruning",
        "littoral_cloud.packaging.latency",
        "littoral_cloud.training.schedule",
        "littoral_cloud.training.trainer",
        REGISTRY[name],
    ]
    code += sorted({METHODS[way["kind"]].partition(":")[0] for way in WAYS.values() if way})
    trainings = [name, *(f"{name}-{i}-{way['kind']}" for i, way in enumerate(WAYS.values()) if way)]
    return kept.row(name, settings, code, lambda: _made(kept, name, spec), trainings=trainings)


def _made(kept: Kept, name: str, spec: Mapping[str, Any]) -> Row:
    trainer = Trainer(data(), answers(), checkpoints=kept.checkpoints, progress=kept.watch)
    base = taught(trainer, spec, name=name, epochs=EPOCHS, schedule=SCHEDULE, seed=SEED)
    nets = {}
    for number, (way, table) in enumerate(WAYS.items()):
        named = Trained.of(f"{name}-{number}", base.module, base.spec, base.input, base.seconds)
        nets[way] = method_from(table, "bench").apply(named, trainer) if table else base
    artifacts = {(way, variant): exported(net.module, variant) for way, net in nets.items() for variant in RUNTIMES}
    times = compare({"/".join(key): artifact for key, artifact in artifacts.items()}, prepared_test()[:300], rounds=15, each=200)
    test = data().test_y
    return {
        way: {
            "accuracy": accuracy_of(RUNNERS["onnxruntime"](artifacts[way, "onnx"], prepared_test()), test),
            "not_zero": sum(int((p != 0).sum()) for p in net.module.parameters() if p.ndim > 1),
            "macs": macs_of(net.module, data().shape),
            "p50_us": {variant: 1000 * times[f"{way}/{variant}"].p50_ms for variant in RUNTIMES},
        }
        for way, net in nets.items()
    }
