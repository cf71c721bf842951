"""From anybody's ONNX file to artifacts with manifests: opened, measured by its task's metric, quantized where there is data.

Nothing is trained. The file is opened and run in a child process (opened.py); nodes serve it with its own inputs and outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cloud.factory.made_with import lineage_of
from cloud.factory.metrics import class_accuracy
from cloud.factory.package import Packaged, travelling
from cloud.foreign.metrics import USUAL, Measure, classes_of, measure_named, scores_of
from cloud.foreign.opened import GIVEN, USUAL_LIMITS, ForeignModel, Limits, open_model
from cloud.foreign.running import answers_of, probe_feeds
from cloud.foreign.samples import AS_IT_IS, ImportData, Preparation, chosen_sizes, load_samples
from littoral.digest import digest_of
from littoral.errors import BadInput, NotFound, RuntimeFailure
from littoral.lineage import BASE, DATA
from littoral.manifest import FOREIGN_SCHEMA, NO_PROBE, TASKS, Input, Manifest, Output, SketchSpec
from littoral.signature import DATATYPES, FREE, MOST_RANK, MOST_TENSORS, Metric, Packed, Signature, TensorProbe
from littoral.sketch import fit

FILE = "model.onnx"
MOST_CLASSES = 10_000
CALIBRATION = 512
SKETCH_SEED, SKETCH_EXAMPLES, SKETCH_VALUES = 1, 4096, 1 << 20
PROBED_INPUT, PROBED_OUTPUT = 16_384, 4_096
"""Values of a tensor that a manifest holds."""
_FLOOR = {"onnx": 1e-3, "onnx-int8": 5e-2}
_MARGIN = 8.0

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """What is to be made of a file.

    `metric` empty: the task's own, accuracy or rmse; detection and custom need one where there is data. `output`: the one that is
    judged, and whose largest value is the class; empty: the first. `sizes`: of inputs, to try the model with where there are no
    data.
    """

    model: str
    name: str = ""
    task: str = TASKS[0]
    metric: str = ""
    lower_is_better: bool = False
    labels: tuple[str, ...] = ()
    output: str = ""
    preparation: Preparation = AS_IT_IS
    sizes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    threads: int = 1
    limits: Limits = USUAL_LIMITS

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise BadInput(f"task: {self.task!r} is not known", hint=f"one of {', '.join(TASKS)}")
        if self.metric in ("accuracy", "worst-class") and self.task != TASKS[0]:
            raise BadInput(
                f"metric: {self.metric} is of classification, the task is {self.task}", hint="rmse, mae, r2 or your own"
            )
        if self.metric in ("rmse", "mae", "r2") and self.task == TASKS[0]:
            raise BadInput(f"metric: {self.metric} is of regression", hint="give --task regression")


@dataclass(frozen=True, slots=True)
class Worth:
    """What one artifact was measured to be worth."""

    accuracy: float
    by_class: tuple[float, ...]
    metric: Metric | None
    examples: int


def import_model(
    path: Path, plan: ImportPlan, *, data: Path | None = None, tell: Callable[[str], None] = lambda _: None
) -> list[Packaged]:
    """The file as it is and, where there are data to calibrate with, as int8; each measured as nodes will run it.

    Args:
        data: see cloud/foreign/samples.py; None: nothing is measured, and the manifest says so.
        tell: told what could not be done.

    Raises:
        NotFound: no such file. What open_model raises;
        BadInput or BadData where the data, the labels, the metric and the model do not fit together.
    """
    if not path.is_file():
        raise NotFound(f"import: {path} is not a file", hint="name an .onnx file")
    measure = _measure(plan, data is not None)
    with open_model(path, threads=plan.threads, limits=plan.limits) as model:
        _check_tensors(model)
        given = load_samples(data, model.inputs, plan.preparation) if data is not None else None
        work = _Import(model, plan, measure, given, digest_of(path.read_bytes()), path.stem)
        made = [work.packaged(model.data, GIVEN, "onnx")]
        if given is not None:
            try:
                smaller = work.quantized()
            except RuntimeFailure as error:
                tell(f"{error.message}; it is released as it is")
            else:
                made.append(smaller)
        return made


def _measure(plan: ImportPlan, data: bool) -> Measure | None:
    name = plan.metric or USUAL.get(plan.task, "")
    if not name and data:
        raise BadInput(
            f"metric: {plan.task} has none of its own", hint="give --metric package.module:function, which gives one number"
        )
    return measure_named(name, lower_is_better=plan.lower_is_better) if name and data else None


def _check_tensors(model: ForeignModel) -> None:
    """Raises BadInput where a tensor is of a kind that nodes do not serve."""
    for side, specs in (("input", model.inputs), ("output", model.outputs)):
        if len(specs) > MOST_TENSORS or not specs:
            raise BadInput(f"model: {model.path} has {len(specs)} {side}s", hint=f"1 to {MOST_TENSORS} are served")
        for spec in specs:
            if spec.datatype not in DATATYPES:
                raise BadInput(
                    f"model: {side} {spec.name} is {spec.datatype}, which nodes do not serve",
                    hint="of scikit-learn's converter, set zipmap=False"
                    if "map" in spec.datatype
                    else f"one of {', '.join(DATATYPES)}",
                )
            if len(spec.shape) > MOST_RANK:
                raise BadInput(f"model: {side} {spec.name} has {len(spec.shape)} dimensions", hint=f"at most {MOST_RANK}")


@dataclass(frozen=True, slots=True, eq=False)
class _Import:
    """One call of `import_model`."""

    model: ForeignModel
    plan: ImportPlan
    measure: Measure | None
    given: ImportData | None
    digest: str  # of the file as it was given
    stem: str

    def quantized(self) -> Packaged:
        """Raises RuntimeFailure where the graph cannot be."""
        assert self.given is not None
        calibrating = self.given.calibrating
        if len(calibrating) == 0:
            raise RuntimeFailure("int8: there is no example to calibrate with")
        if any(
            len(array.shape) != len(spec.shape)
            for spec, array in zip(self.model.inputs, calibrating.inputs.values(), strict=True)
        ):
            raise RuntimeFailure("int8: inputs without a batch are not calibrated")
        places = np.linspace(0, len(calibrating) - 1, min(CALIBRATION, len(calibrating))).astype(np.int64)
        data = self.model.quantized({name: array[places] for name, array in calibrating.inputs.items()})
        self.model.load(data, "int8")
        return self.packaged(data, "int8", "onnx-int8")

    def packaged(self, data: bytes, graph: str, variant: str) -> Packaged:
        plan, model = self.plan, self.model
        feeds = self._probe_feeds()
        answers = model.run(feeds, name=graph)
        output = self._output(answers)
        labels = self._labels(answers[output]) if plan.task == TASKS[0] else ()
        worth = self._worth(graph, output, labels)
        recipe = {
            "import": {**self._said(output), "calibration_examples": CALIBRATION if graph != GIVEN else 0},
            "variant": variant,
        }
        parents = ((self.given.digest,) if self.given else ()) + (self.digest,)
        roles = ((DATA,) if self.given else ()) + (BASE,)
        first = model.inputs[0]
        files, coded = travelling({FILE: data})
        manifest = Manifest(
            model=plan.model,
            name=f"{plan.name or self.stem}-{variant}",
            architecture={"name": "imported", "file": model.path.name},
            parameters=model.parameters,
            runtime="onnxruntime",
            runtime_options={},
            requires={"opset": model.opset, "ir": model.ir},
            files=files,
            input=Input(first.name, first.shape[1:], 1.0, (0.0,), (1.0,)),
            output=Output(output, labels),
            accuracy=worth.accuracy,
            accuracy_examples=worth.examples,
            class_accuracy=worth.by_class,
            probe=NO_PROBE,
            sketch=self._sketch(),
            parents=parents,
            recipe=recipe,
            lineage=lineage_of(recipe, "onnxruntime", parents, roles),
            remarks=() if self.given else ("was not measured: it was imported without data",),
            task=plan.task,
            metric=worth.metric,
            signature=Signature(model.inputs, model.outputs, self._probe(feeds, answers, data, graph, _FLOOR[variant])),
            schema=FOREIGN_SCHEMA,
        )
        return Packaged(manifest, {FILE: data}, coded)

    def _output(self, answers: Mapping[str, Array]) -> str:
        """The one that is judged: as the plan says, else the first that may be it."""
        names = [spec.name for spec in self.model.outputs]
        if self.plan.output and self.plan.output not in names:
            raise BadInput(f"--output: the model has no {self.plan.output!r}", hint=f"it has {', '.join(names)}")
        if self.plan.output:
            return self.plan.output
        if self.plan.task == TASKS[0]:
            return next((n for n in names if answers[n].ndim == 2 and answers[n].dtype.kind == "f"), names[0])
        return names[0]

    def _labels(self, scores: Array) -> tuple[str, ...]:
        if scores.ndim != 2 or not 2 <= scores.shape[1] <= MOST_CLASSES or scores.dtype.kind != "f":
            raise BadInput(
                f"model: its output is {scores.dtype} {list(scores.shape)}, a classifier gives floats of (n, classes)",
                hint="name another with --output, or say what it does with --task",
            )
        labels = self.plan.labels or (self.given.labels if self.given else ()) or tuple(map(str, range(scores.shape[1])))
        if len(labels) != scores.shape[1] or len(set(labels)) != len(labels):
            raise BadInput(
                f"labels: {len(set(labels))} different ones, the model tells {scores.shape[1]} classes apart",
                hint="one for each class, in the model's order: --labels FILE",
            )
        return labels

    def _worth(self, graph: str, output: str, labels: tuple[str, ...]) -> Worth:
        if self.given is None or self.measure is None:
            return Worth(0.0, (), Metric("not-measured", 0.0, True) if self.plan.task != TASKS[0] else None, 0)
        measuring = self.given.measuring
        answers = answers_of(self.model, graph, measuring.inputs)
        targets = dict(measuring.targets)
        if self.plan.task != TASKS[0]:
            return Worth(0.0, (), self.measure.metric(answers, targets, output), len(measuring))
        scores = scores_of(answers, output, len(measuring))
        targets["y"] = classes_of(targets, len(labels), labels)
        accuracy = float((scores.argmax(1) == targets["y"]).mean())
        by_class = class_accuracy(scores.astype(np.float32), targets["y"], len(labels))
        metric = None if self.measure.name == "accuracy" else self.measure.metric(answers, targets, output)
        return Worth(accuracy, by_class, metric, len(measuring))

    def _probe_feeds(self) -> dict[str, Array]:
        if self.given is not None:
            return probe_feeds(self.model, self.given.measuring.inputs, PROBED_INPUT)
        chance, made = np.random.default_rng(1), {}
        for spec, shape in zip(self.model.inputs, chosen_sizes(self.model.inputs, self.plan.sizes).values(), strict=True):
            kind = DATATYPES[spec.datatype]
            drawn = chance.uniform(-1, 1, shape) if kind.kind == "f" else chance.integers(0, 2, shape)
            made[spec.name] = Packed.of(drawn.astype(kind), most=PROBED_INPUT).filled()
        return made

    def _probe(
        self, feeds: Mapping[str, Array], answers: Mapping[str, Array], data: bytes, graph: str, floor: float
    ) -> TensorProbe:
        """With the largest difference between ways to run it here, times a margin, as what may be tolerated."""
        self.model.load(data, f"{graph}-plain", optimised=False)
        others = [self.model.run(feeds, name=f"{graph}-plain")]
        tolerances = {}
        for name, wanted in answers.items():
            seen = [_apart(other[name], wanted) for other in others]
            least = floor * float(np.abs(wanted[np.isfinite(wanted)]).max(initial=0.0)) if wanted.dtype.kind == "f" else 0.02
            tolerances[name] = float(f"{max(_MARGIN * max(seen), least, 1e-6) * 1.005:.3g}")
        return TensorProbe(
            {name: Packed.of(array, most=PROBED_INPUT) for name, array in feeds.items()},
            {name: Packed.of(array, most=PROBED_OUTPUT) for name, array in answers.items()},
            tolerances,
        )

    def _sketch(self) -> SketchSpec:
        """Of one input of one size alone; else inputs are not sketched, and drift is not seen."""
        [first, *more] = self.model.inputs
        if self.given is None or more or first.shape[:1] != (FREE,) or FREE in first.shape[1:]:
            return SketchSpec(SKETCH_SEED, ())
        parts = [s.inputs[first.name] for s in (self.given.calibrating, self.given.measuring)]
        raw = np.concatenate(parts)[:SKETCH_EXAMPLES]
        if len(raw) < 10 or raw[0].size > SKETCH_VALUES:
            return SketchSpec(SKETCH_SEED, ())
        return fit(raw, seed=SKETCH_SEED)

    def _said(self, output: str) -> dict[str, Any]:
        how = self.plan.preparation
        return {
            "file": self.model.path.name,
            "output": output,
            "prepare": how.scale,
            "mean": list(how.mean),
            "std": list(how.std),
            "metric": self.measure.name if self.measure else "",
        }


def _apart(other: Array, wanted: Array) -> float:
    """The largest difference of floats; of anything else the share that differs."""
    if other.shape != wanted.shape or not wanted.size:
        return 0.0
    if wanted.dtype.kind != "f":
        return float((other != wanted).mean())
    both = np.isfinite(other) & np.isfinite(wanted)
    return float(np.abs(other[both].astype(np.float64) - wanted[both].astype(np.float64)).max(initial=0.0))


def read_labels(path: Path) -> tuple[str, ...]:
    """One a line. Raises BadInput or NotFound."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"labels: {path} cannot be read: {error}", hint="a text file, one label a line") from error
    labels = tuple(line.strip() for line in lines if line.strip())
    if not labels:
        raise BadInput(f"labels: {path} is empty", hint="one label a line, in the model's order")
    return labels
