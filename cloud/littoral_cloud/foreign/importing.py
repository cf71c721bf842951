"""From an ONNX file of any origin to artifacts with manifests: measured by its task's metric, quantized where there is data.

Nothing is trained. The file is opened and run in a child process (opened.py); nodes serve it with its own inputs and outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from littoral.answers import examples_at_fault, fault_of
from littoral.digest import digest_of
from littoral.errors import BadInput, NotFound, RuntimeFailure
from littoral.lineage import BASE, DATA
from littoral.manifest import FOREIGN_SCHEMA, TASKS, Manifest, Output
from littoral.metric import Metric
from littoral.preparation import Input
from littoral.probe import NO_PROBE
from littoral.signature import Packed, Signature
from littoral_cloud.foreign.evaluation import MOST_FAULTY, MOST_LOST, Worth, chance_of, lost, worth_by_metric, worth_of_classifier
from littoral_cloud.foreign.labels import are_scores, labels_of, own_names
from littoral_cloud.foreign.metrics import METRICS, USUAL, Measure, measure_named
from littoral_cloud.foreign.opened import GIVEN, ForeignModel, Graph, open_model
from littoral_cloud.foreign.plan import ImportPlan
from littoral_cloud.foreign.probing import CHANCES, asked_by_chance, asked_of_examples, probe_of
from littoral_cloud.foreign.running import answers_of, batch_of
from littoral_cloud.foreign.samples import ImportData, load_samples
from littoral_cloud.foreign.served import served, with_ranks
from littoral_cloud.foreign.sketching import sketch_of
from littoral_cloud.packaging.package import Packaged, travelling
from littoral_cloud.packaging.provenance import lineage_of

FILE = "model.onnx"
CALIBRATION = 512
LAYERS = "int8-layers"
MOST_TRIES = 8
"""Examples that a probe may begin with."""

Array = npt.NDArray[Any]


def import_model(
    path: Path, plan: ImportPlan, *, data: Path | None = None, tell: Callable[[str], None] = lambda _: None
) -> list[Packaged]:
    """The file as it is and, where there are data to calibrate with, as int8; each measured as nodes will run it.

    Args:
        data: see cloud/littoral_cloud/foreign/samples.py; None: nothing is measured, and the manifest says so.
        tell: called with a message about each thing that could not be done.

    Raises:
        NotFound: no such file. What open_model raises;
        BadInput or BadData where the data, the labels, the metric and the model do not fit together.
    """
    if not path.is_file():
        raise NotFound(f"import: {path} is not a file", hint="name an .onnx file")
    measure = _measure(plan, data is not None)
    with open_model(path, threads=plan.threads, limits=plan.limits) as opened:
        model = served(opened, plan.output, tell)
        given = load_samples(data, model.inputs, plan.preparation, model.unshaped) if data is not None else None
        if model.unshaped:
            model = _shaped(model, plan, given)
        work = _Import(model, plan, measure, given, digest_of(path.read_bytes()), path.stem)
        whole = work.measured(Graph(model.data, model.opset, model.ir), GIVEN, "onnx")
        if whole.worth is not None and whole.worth.faults.share > (1.0 if plan.anyway else MOST_FAULTY):
            raise whole.worth.faults.refusal()
        made = [work.packaged(whole)]
        if given is not None:
            try:
                made.append(work.packaged(work.smaller(whole)))
            except (RuntimeFailure, BadInput) as error:
                tell(f"{error.message}; it is released as it is")
        return made


def _shaped(model: ForeignModel, plan: ImportPlan, given: ImportData | None) -> ForeignModel:
    """The model whose tensors all have a shape, as data, --size and one answer show it. Raises BadInput."""
    sizes = {name: len(size) for name, size in plan.sizes.items()}
    inputs = given.inputs if given else with_ranks(model.inputs, model.unshaped, sizes)
    model = replace(model, inputs=inputs)
    asked = asked_of_examples(model, given.measuring.inputs) if given else asked_by_chance(model, plan.sizes)
    answers = model.run({name: packed.filled() for name, packed in asked.items()})
    ranks = {name: array.ndim for name, array in answers.items()}
    return replace(model, outputs=with_ranks(model.outputs, model.unshaped, ranks), unshaped=frozenset())


def _measure(plan: ImportPlan, data: bool) -> Measure | None:
    name = plan.metric or USUAL.get(plan.task, "")
    if not name and data:
        raise BadInput(
            f"metric: {plan.task} has none of its own",
            hint=f"give --metric {', '.join(METRICS)}, or package.module:function, which gives one number",
        )
    return measure_named(name, lower_is_better=plan.lower_is_better) if name and data else None


@dataclass(frozen=True, slots=True)
class _Measured:
    """One graph, loaded under a name, and what it is worth; `lost` of what the file as it is was worth."""

    graph: Graph
    name: str
    variant: str
    output: str
    labels: tuple[str, ...]
    worth: Worth | None  # None: there are no data
    lost: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class _Import:
    """One call of `import_model`."""

    model: ForeignModel
    plan: ImportPlan
    measure: Measure | None
    given: ImportData | None
    digest: str  # of the file as it was given
    stem: str

    def smaller(self, whole: _Measured) -> _Measured:
        """int8 of it, of all its operators; or of its layers alone where that loses less than it may and the other does not.

        Raises RuntimeFailure where it cannot be made, is no smaller, or lost more than it may, with how much.
        """
        assert self.given is not None
        calibrating = self.given.calibrating
        if len(calibrating) == 0:
            raise RuntimeFailure("int8: there is no example to calibrate with")
        batch = batch_of(self.model, calibrating.inputs)
        if batch == 0:
            raise RuntimeFailure("int8: inputs without a batch are not calibrated")
        places = np.linspace(0, len(calibrating) - 1, min(CALIBRATION, len(calibrating))).astype(np.int64)
        feeds = {name: array[places] for name, array in calibrating.inputs.items()}
        why = ""
        for name in ("int8", LAYERS):
            try:
                return self._smaller(whole, self.model.quantized(feeds, batch, layers_alone=name == LAYERS), name)
            except (RuntimeFailure, BadInput) as error:
                why = why or error.message
        raise RuntimeFailure(why)

    def _smaller(self, whole: _Measured, graph: Graph, name: str) -> _Measured:
        before, after = len(whole.graph.data), len(graph.data)
        if after >= before:
            raise RuntimeFailure(f"int8: is no smaller: {after:,} bytes, and {before:,} as it is")
        self.model.load(graph.data, name)
        small = self.measured(graph, name, "onnx-int8")
        assert whole.worth is not None
        assert small.worth is not None
        if (small.worth.faults.where & ~whole.worth.faults.where).any():
            raise RuntimeFailure("int8: it answers with values that are not numbers where the file as it is does not")
        gone, may = lost(whole.worth, small.worth), self.plan.int8_loss
        if gone > may + chance_of(may, small.worth):
            raise RuntimeFailure(
                f"int8: lost {gone:.1%} of what it is worth ({_score_text(whole.worth)} to {_score_text(small.worth)}), at most "
                f"{may:.0%} may go, and what is chance on {small.worth.examples} examples (--int8-loss)"
            )
        return replace(small, lost=gone)

    def measured(self, graph: Graph, name: str, variant: str) -> _Measured:
        """Of a graph that is loaded under this name. Raises BadInput."""
        if self.given is None or self.measure is None:
            asked = asked_by_chance(self.model, self.plan.sizes)
            answers = self.model.run({n: packed.filled() for n, packed in asked.items()}, name=name)
            output = self._output(answers)
            return _Measured(graph, name, variant, output, self._labels(answers[output]), None)
        measuring = self.given.measuring
        found = answers_of(self.model, name, measuring.inputs)
        output = self._output(found)
        labels = self._labels(found[output])
        targets, count = dict(measuring.targets), len(measuring)
        if self.plan.task != TASKS[0]:
            return _Measured(graph, name, variant, output, labels, worth_by_metric(found, targets, output, self.measure))
        worth = worth_of_classifier(
            *(found, targets, count, output, labels, self.given.labels, self.measure),
            numbers=labels == own_names(self.model.class_names, len(labels)),
        )
        return _Measured(graph, name, variant, output, labels, worth)

    def packaged(self, measured: _Measured) -> Packaged:
        """Raises BadInput where no example has an answer, so that there is nothing to hold a node's against."""
        plan, model, worth, graph = self.plan, self.model, measured.worth, measured.graph
        for asked in self._asked(worth):
            feeds = {name: packed.filled() for name, packed in asked.items()}
            answers = model.run(feeds, name=measured.name)
            if not examples_at_fault({name: [array] for name, array in answers.items()}, 1).any():
                break
        self._labels(answers[measured.output])
        model.load(graph.data, f"{measured.name}-plain", optimised=False)
        others = model.run(feeds, name=f"{measured.name}-plain")
        recipe = {
            "import": {**self._settings(measured.output), **_quantized_how(measured.name)},
            "variant": measured.variant,
        }
        parents = ((self.given.digest,) if self.given else ()) + (self.digest,)
        roles = ((DATA,) if self.given else ()) + (BASE,)
        first = model.inputs[0]
        files, coded = travelling({FILE: graph.data})
        by_class = worth.by_class if worth else {}
        every = bool(by_class) and len(by_class) == len(measured.labels)
        not_measured = Metric("not-measured", 0.0, True) if plan.task != TASKS[0] else None
        manifest = Manifest(
            model=plan.model,
            name=f"{plan.name or self.stem}-{measured.variant}",
            architecture={"name": "imported", "file": model.path.name},
            parameters=model.parameters,
            runtime="onnxruntime",
            runtime_options={},
            requires={"opset": graph.opset, "ir": graph.ir},
            files=files,
            input=Input(first.name, first.shape[1:], 1.0, (0.0,), (1.0,)),
            output=Output(measured.output, measured.labels),
            accuracy=worth.accuracy if worth else 0.0,
            accuracy_examples=worth.examples if worth else 0,
            class_accuracy=tuple(by_class[label] for label in measured.labels) if every else (),
            measured_classes={} if every else by_class,
            probe=NO_PROBE,
            sketch=sketch_of(self.given, model.inputs),
            parents=parents,
            recipe=recipe,
            lineage=lineage_of(recipe, "onnxruntime", parents, roles),
            remarks=self._remarks(measured),
            task=plan.task,
            metric=worth.metric if worth else not_measured,
            signature=Signature(model.inputs, model.outputs, probe_of(asked, answers, others, measured.variant)),
            schema=FOREIGN_SCHEMA,
        )
        if fault := fault_of(manifest, answers):
            raise BadInput(f"model: {manifest.name}, on the inputs of its probe, {fault}", hint="nodes refuse such a model")
        return Packaged(manifest, {FILE: graph.data}, coded)

    def _asked(self, worth: Worth | None) -> Iterator[dict[str, Packed]]:
        """Inputs for the probe, in the order in which they are tried: the first that have an answer are taken.

        Where there are data, from the examples that have one; of a large example only some values, which may have none."""
        if self.given is None or worth is None:
            yield from (asked_by_chance(self.model, self.plan.sizes, least) for least in CHANCES)
            return
        if worth.faults.where.all():
            raise worth.faults.refusal()
        answered = {name: array[~worth.faults.where] for name, array in self.given.measuring.inputs.items()}
        for first in range(min(MOST_TRIES, worth.examples - int(worth.faults.where.sum()))):
            yield asked_of_examples(self.model, {name: array[first:] for name, array in answered.items()})

    def _remarks(self, measured: _Measured) -> tuple[str, ...]:
        if measured.worth is None:
            return ("was not measured: it was imported without data",)
        if measured.lost <= MOST_LOST + chance_of(MOST_LOST, measured.worth):
            return measured.worth.remarks
        return (*measured.worth.remarks, f"lost {measured.lost:.1%} of what the file is worth as it is")

    def _output(self, answers: Mapping[str, Any]) -> str:
        """The one that is judged: as the plan says, else the first that may be it."""
        names = [spec.name for spec in self.model.outputs]
        wanted = dict(self.model.opened_maps).get(self.plan.output, self.plan.output)
        if wanted and wanted not in names:
            raise BadInput(f"--output: the model has no {wanted!r}", hint=f"it has {', '.join(names)}")
        if wanted:
            return wanted
        if self.plan.task == TASKS[0]:
            return next((n for n in names if are_scores(answers[n])), names[0])
        return names[0]

    def _labels(self, scores: Any) -> tuple[str, ...]:
        """The classes' names, in order; empty where the task is no classification. Raises BadInput."""
        if self.plan.task != TASKS[0]:
            return ()
        return labels_of(scores, self.plan.labels, self.model.class_names, self.given.labels if self.given else ())

    def _settings(self, output: str) -> dict[str, Any]:
        how = self.plan.preparation
        return {
            "file": self.model.path.name,
            "output": output,
            "prepare": how.scale,
            "mean": list(how.mean),
            "std": list(how.std),
            "metric": self.measure.name if self.measure else "",
        }


def _quantized_how(name: str) -> dict[str, Any]:
    if name == GIVEN:
        return {"calibration_examples": 0}
    return {"calibration_examples": CALIBRATION, "quantized": "layers" if name == LAYERS else "all"}


def _score_text(worth: Worth) -> str:
    return f"{worth.metric.name} {worth.metric.value:.4g}" if worth.metric else f"accuracy {worth.accuracy:.4g}"
