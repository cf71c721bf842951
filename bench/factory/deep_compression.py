"""Deep Compression's table beside ours, stage by stage: S. Han, H. Mao, W. J. Dally: Deep Compression: Compressing Deep Neural
Networks with Pruning, Trained Quantization and Huffman Coding, ICLR 2016, https://arxiv.org/abs/1510.00149 (tables 1 to 3).

Later work, as published: M. Havasi, R. Peharz, J. M. Hernandez-Lobato: Minimal Random Code Learning, ICLR 2019,
https://arxiv.org/abs/1810.00440 (LeNet-5). Ours are bytes that travel to a node: the whole ONNX file, its graph and its biases
with it, as the codec writes it, and the error is that of the file as the node decodes it, in onnxruntime. What is trained stands
in deep_compression.toml.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import zstandard

from bench.factory.coded import CODED, decoded, travels
from bench.factory.kept import Kept, Row
from bench.factory.methods import exported, prepared_test
from bench.factory.tables import Part, data
from bench.factory.teacher import answers
from bench.report import Cell, Figure, Table
from littoral import decoder
from littoral.architectures import REGISTRY
from littoral_cloud.compression.methods import METHODS, method_from
from littoral_cloud.export.exported import Exported
from littoral_cloud.packaging.package import RUNNERS
from littoral_cloud.training.augmentation import Augment
from littoral_cloud.training.schedule import Schedule
from littoral_cloud.training.train import Trained, accuracy_of, taught
from littoral_cloud.training.trainer import Trainer

RECIPE = Path(__file__).with_suffix(".toml")
DENSE_BYTES = {"lenet_300_100": 4 * 266_610, "lenet5": 4 * 431_080}
_HAN, _MIRACLE = "Deep Compression (arXiv:1510.00149)", "Minimal Random Code Learning (arXiv:1810.00440)"
PUBLISHED: Mapping[str, list[list[Cell]]] = {
    # who, stage, test error in %, bytes, ratio
    "lenet_300_100": [
        [_HAN, "dense", 1.64, 1_070_000, 1.0],
        [_HAN, "prune", None, None, 12.0],
        [_HAN, "share", None, None, 32.0],
        [_HAN, "code", 1.58, 27_000, 40.0],
        ["later work, as published", "code", 1.9, None, 124.0],
    ],
    "lenet5": [
        [_HAN, "dense", 0.80, 1_720_000, 1.0],
        [_HAN, "prune", None, None, 12.0],
        [_HAN, "share", None, None, 33.0],
        [_HAN, "code", 0.74, 44_000, 39.0],
        [_MIRACLE, "code", 0.69, None, 555.0],
        [_MIRACLE, "code", 0.96, None, 1110.0],
    ],
}
FIGURES = {"lenet_300_100": "lenet300", "lenet5": "lenet5"}
_ZSTD_LEVEL = 19


@dataclass(frozen=True, slots=True)
class Plan:
    """One row of the recipe: a network trained in one way, and what is done to it."""

    net: str
    training: str
    epochs: int
    seed: int
    schedule: Schedule
    stages: tuple[Mapping[str, Any], ...]
    teacher: bool = False
    goal: bool = False
    full: bool = False
    temperature: float = 4.0
    alpha: float = 0.1
    beta: float = 0.9

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> Plan:
        body = dict(table)
        schedule = decoder.decode(Schedule, body.pop("schedule"), "schedule")
        return cls(schedule=schedule, stages=tuple(body.pop("stages")), **body)

    @property
    def name(self) -> str:
        """Of its trainings."""
        return f"{self.net}-{self.training}".replace(" ", "-").replace(",", "")


def plans(full: bool, path: Path = RECIPE) -> list[Plan]:
    found = [Plan.of(table) for table in tomllib.loads(path.read_text())["rows"]]
    return [plan for plan in found if full or not plan.full]


def made(*, full: bool) -> Part:
    kept = Kept("deep-compression")
    rows: list[list[Cell]] = []
    figures: dict[str, Figure] = {}
    ours = [(plan, _row(kept, plan)) for plan in plans(full)]
    for net, published in PUBLISHED.items():
        rows += [[net, *row] for row in published]
        for plan, row in ours:
            if plan.net == net:
                rows += [[net, f"here: {plan.training}", *stage] for stage in row["stages"]]
                if plan.goal:
                    figures |= _figures(net, plan, row)
    table = Table(
        "Deep Compression's table beside ours: bytes that travel",
        ("net", "who", "stage", "test error %", "bytes", "ratio"),
        rows,
        (
            "Ratio: of the dense float32 net (1,066,440 and 1,724,320 bytes). Ours count the whole ONNX file, graph and biases.",
            "Prune: the sparse float32 file, coded. Share: the file with its codebooks, zstd alone. Code: the same file, its"
            " positions and indices entropy coded; the node gets it back bit for bit, so its error is that of the stage before."
            " Its graph is coded with the dictionary of graphs that ships with the agent and holds no trained weight;"
            ' "graph and all" is for a reader that has no dictionary.',
            "LeNet-5's convolutions have no bias: where a pool alone lies between two layers, the next one's says the same.",
            "Settings were chosen without the test images.",
            "The papers train on labels alone, without moved copies. Rows that have a teacher or moved copies here say so.",
        ),
    )
    return Part(table, figures, kept.seconds)


def _figures(net: str, plan: Plan, row: Row) -> dict[str, Figure]:
    _, error, size, ratio = row["stages"][-1]
    note = f"{size:,} bytes; {plan.training}, one seed"
    peer = max((r for r in PUBLISHED[net] if r[4]), key=lambda r: float(r[4] or 0))
    return {
        f"{FIGURES[net]}_ratio": Figure.of(
            ratio, "times smaller", "higher", note, (f"{peer[0]}, {peer[2]} %", float(peer[4] or 0))
        ),
        f"{FIGURES[net]}_error_pct": Figure.of(error, "%", "lower", note, (_HAN, float(PUBLISHED[net][3][2] or 0))),
    }


def _row(kept: Kept, plan: Plan) -> Row:
    settings = {
        "plan": repr(plan),
        "teacher": answers(plan.schedule.augment or Augment()).digest if plan.teacher else None,
        "data": data().digest,
    }
    kinds = [stage["kind"] for stage in plan.stages]
    code = [
        "bench.factory.deep_compression",
        *CODED,
        "littoral_cloud.training.schedule",
        "littoral_cloud.training.trainer",
        "littoral_cloud.training.augmentation",
    ]
    code += [REGISTRY[plan.net], *(METHODS[kind].partition(":")[0] for kind in kinds)]
    return kept.row(plan.name, settings, code, lambda: _made(kept, plan), trainings=_trainings(plan))


def _copies(plan: Plan) -> Augment:
    """Those that every stage is taught on: the teacher is asked about no others."""
    return plan.schedule.augment or Augment(copies=1)


def _trainings(plan: Plan) -> list[str]:
    """A method calls its training after the network that it is given; that is called after the stage."""
    return [plan.name, *(f"{plan.name}-{_slug(stage)}-{stage['kind']}" for stage in plan.stages)]


def _slug(stage: Mapping[str, Any]) -> str:
    return str(stage["stage"]).replace(" ", "-")


def _made(kept: Kept, plan: Plan) -> Row:
    trainer = Trainer(
        data(),
        answers(_copies(plan)) if plan.teacher else None,
        plan.alpha,
        plan.beta,
        plan.temperature,
        checkpoints=kept.checkpoints,
        progress=kept.watch,
    )
    net = taught(trainer, {"name": plan.net}, name=plan.name, epochs=plan.epochs, schedule=plan.schedule, seed=plan.seed)
    stages: list[list[Cell]] = [["dense", _error(exported(net.module, "onnx")), DENSE_BYTES[plan.net], 1.0]]
    for table in plan.stages:
        settings = {key: value for key, value in table.items() if key not in ("stage", "variant")}
        net = replace(net, name=f"{plan.name}-{_slug(table)}")
        net = method_from(settings, "deep_compression.toml").apply(net, trainer)
        artifact = exported(net.module, table.get("variant", "onnx"))
        stages += _stages(plan, str(table["stage"]), artifact, last=table is plan.stages[-1])
    return {"stages": stages, "parameters_kept": _kept(net)}


def _stages(plan: Plan, name: str, artifact: Exported, *, last: bool) -> list[list[Cell]]:
    """One line of the table; three for the last stage: zstd alone, the codec, and that with the agent's dictionary."""
    whole, coded = DENSE_BYTES[plan.net], travels(artifact)
    error = _error(decoded(artifact))
    if not last:
        return [[name, error, coded, round(whole / coded, 1)]]
    plain = sum(len(zstandard.compress(content, _ZSTD_LEVEL)) for content in artifact.files.values())
    alone = travels(artifact, dictionaries=False)
    return [
        [name, error, plain, round(whole / plain, 1)],
        ["code, graph and all", error, alone, round(whole / alone, 1)],
        ["code", error, coded, round(whole / coded, 1)],
    ]


def _error(artifact: Exported) -> float:
    """Per cent of the test images."""
    logits = RUNNERS[artifact.runtime](artifact, prepared_test())
    return round(100 * (1 - accuracy_of(logits, data().test_y)), 2)


def _kept(net: Trained) -> int:
    return sum(int((p != 0).sum()) for p in net.module.parameters())
