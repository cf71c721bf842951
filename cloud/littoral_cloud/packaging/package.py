"""A trained network -> artifacts with manifests, each measured as it was exported.

`candidates_from` is the one door: the demo, `release create --run` and a search all come through it. Nothing in a manifest says
when, where or how fast it was made, so the same network and data give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from littoral import codec
from littoral.architectures.quantized import quantizers
from littoral.codec_errors import codec_errors
from littoral.digest import digest_of
from littoral.errors import BadInput
from littoral.lineage import DATA, WEIGHTS
from littoral.manifest import File, Manifest, Output, SketchSpec, Transfer
from littoral.preparation import Input
from littoral.probe import Probe
from littoral.sketch import fit
from littoral_cloud.data.dataset import Dataset, Inputs
from littoral_cloud.export import coreml, int8, ncnn, onnx, tensorrt
from littoral_cloud.export.exported import DEFAULTS, OUTPUT_NAME, Exported, Exporter, Logits, Options, Prepared, Runner
from littoral_cloud.packaging.metrics import class_accuracy, learnt_nothing
from littoral_cloud.packaging.provenance import lineage_of
from littoral_cloud.training.preparation import input_of, noted
from littoral_cloud.training.schedule import ignore
from littoral_cloud.training.train import Trained, accuracy_of

EXPORTERS: Mapping[str, Exporter] = {
    "onnx": onnx.export,
    "onnx-int8": int8.export_int8,
    "onnx-int8-dynamic": int8.export_int8_dynamic,
    "onnx-int8-full": int8.export_int8_full,
    "ncnn": ncnn.export,
    "ncnn-fp16": partial(ncnn.export, half=True),
    "coreml": coreml.export,
    "coreml-fp16": partial(coreml.export, precision="FLOAT16"),
    "tensorrt-fp16": tensorrt.export_fp16,
    "tensorrt-int8": int8.export_tensorrt_int8,
}
"""What a network can be turned into. Each module imports its optional packages when it is called."""

RUNNERS: Mapping[str, Runner] = {
    "onnxruntime": onnx.infer,
    "ncnn": ncnn.infer,
    "coreml": coreml.infer,
    "tensorrt": tensorrt.infer,
}
"""How this process runs an artifact of each runtime, or, where it cannot, calculates what the artifact says."""

_NOT_RUN = {
    "coreml": "measured as the package says, operation by operation in torch: Core ML did not run it",
    "tensorrt": "measured as the graph says, in float32 on a CPU: TensorRT did not run it",
}
"""By runtime, what a manifest remarks of its figures."""

EVERY_VARIANT = ("onnx", "onnx-int8", "onnx-int8-dynamic", "ncnn", "ncnn-fp16")
"""That any machine can run."""
PROBES = 16
MAX_PROBE_BYTES = 1_000_000
CALIBRATION = DEFAULTS.calibration.examples
SKETCH_SEED = 1
SKETCH_EXAMPLES = 4096

# A probe must tell a wrong model from a right one on another CPU, where sums are rounded in another order. What rounding does
# to this artifact is measured (see _tolerance); these are floors, as a fraction of its largest logit.
_FLOOR = {
    "onnx": 1e-3, "onnx-int8": 5e-2, "onnx-int8-dynamic": 5e-2, "onnx-int8-full": 5e-2, "ncnn": 1e-3, "ncnn-fp16": 1e-3,
    "coreml": 1e-3, "coreml-fp16": 1e-2, "tensorrt-fp16": 1e-2, "tensorrt-int8": 5e-2,
}  # fmt: skip
_MARGIN = 8.0
_CALIBRATED = ("onnx-int8", "onnx-int8-full", "tensorrt-int8")


@dataclass(frozen=True, slots=True)
class Packaged:
    """An artifact ready to be signed: its manifest, and the bytes of each file that the manifest names, by path.

    `coded`: what travels in place of a file, by path, where the manifest names a transfer for it.
    """

    manifest: Manifest
    files: Mapping[str, bytes]
    coded: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """What every candidate of one data set is measured with; prepared once."""

    dataset: Dataset
    input: Input
    test: Prepared
    calibration: Prepared
    probe: Inputs  # raw
    sketch: SketchSpec

    @classmethod
    def of(cls, dataset: Dataset, given: Input | None = None) -> Bench:
        """`given`: how inputs are prepared; None: as the training images say. A network fine-tuned from another one needs
        the other one's."""
        given = given or input_of(dataset)
        if given.shape != dataset.shape:
            raise BadInput(f"input.shape: the model takes {given.shape}, the {dataset.kind} of {dataset.name} {dataset.shape}")
        some = _spread(dataset.train_x, SKETCH_EXAMPLES)
        return cls(
            dataset,
            given,
            given.prepare(dataset.test_x),
            given.prepare(_spread(dataset.train_x, CALIBRATION)),
            dataset.test_x[_probe_places(dataset)],
            fit(given.sketched(some, given.prepare(some)), seed=SKETCH_SEED),
        )

    def calibration_of(self, examples: int) -> Prepared:
        """At most `examples` prepared training inputs, spread evenly over the training set."""
        if examples == CALIBRATION:
            return self.calibration
        return self.input.prepare(_spread(self.dataset.train_x, examples))


@dataclass(frozen=True, slots=True, eq=False)
class Provenance:
    """What a network was made of, and how.

    parents: digests of what it was made from (teacher, base), without data and weights. roles: of those, in their order; see
    littoral.lineage. recipe: as resolved, JSON values; seed and threads of its "student" or "run" stand in the lineage.
    """

    parents: Sequence[str] = ()
    roles: Sequence[str] = ()
    recipe: Mapping[str, Any] = field(default_factory=dict)


def candidates_from(
    network: Trained,
    bench: Bench,
    variants: Sequence[str] = EVERY_VARIANT,
    *,
    model: str,
    name: str,
    provenance: Provenance | None = None,
    options: Options = DEFAULTS,
    progress: Callable[[str], None] = ignore,
) -> list[Packaged]:
    """Exports a network in several ways, and measures each artifact on the test split in its own runtime.

    Args:
        network: trained; see weights.module_of for weights that came as arrays.
        bench: its test split measures, its training split calibrates int8 and fits the input sketch.
        variants: of EXPORTERS; an artifact is called `name-variant`.
        model: the name under which nodes serve it.
        options: how the files are written.
        progress: called with each artifact's name before it is made.

    Raises:
        BadInput: a variant is unknown, or the data does not fit the network. RuntimeFailure: an export or its runtime failed.
    """
    for variant in variants:
        if variant not in EXPORTERS:
            raise BadInput(f"variant: {variant!r} is not known", hint=f"one of {', '.join(EXPORTERS)}")
    provenance = provenance or Provenance()
    made = []
    for variant in variants:
        progress(f"{name}-{variant}")
        calibration = bench.calibration_of(options.calibration.examples)
        exported = EXPORTERS[variant](network.module, bench.input, calibration=calibration, options=options)
        recipe = {**provenance.recipe, **_calibrated(variant, network.module, options, len(calibration))}
        made.append(_packaged(exported, network, bench, replace(provenance, recipe=recipe), model, name, variant))
    return made


def _packaged(
    exported: Exported, network: Trained, bench: Bench, provenance: Provenance, model: str, name: str, variant: str
) -> Packaged:
    """Measures one artifact in its own runtime and writes its manifest. Raises RuntimeFailure where it does not run."""
    infer, test_y = RUNNERS[exported.runtime], bench.dataset.test_y
    logits = infer(exported, bench.test)
    by_class = class_accuracy(logits, test_y, bench.dataset.classes)
    probe = bench.input.prepare(bench.probe)
    answers = infer(exported, probe)
    files, coded = travelling(exported.files)
    parents = (bench.dataset.digest, network.digest, *provenance.parents)
    remarks = (_NOT_RUN.get(exported.runtime), learnt_nothing(by_class, test_y), *noted(bench.dataset))
    manifest = Manifest(
        model=model,
        name=f"{name}-{variant}",
        architecture=dict(network.spec),
        parameters=network.parameters,
        runtime=exported.runtime,
        runtime_options=dict(exported.runtime_options),
        requires=dict(exported.requires),
        files=files,
        input=bench.input,
        output=Output(OUTPUT_NAME, bench.dataset.labels),
        accuracy=accuracy_of(logits, test_y),
        accuracy_examples=len(test_y),
        class_accuracy=by_class,
        probe=Probe.of(bench.probe, answers, _tolerance(exported, infer, probe, answers, _FLOOR[variant])),
        sketch=bench.sketch,
        parents=parents,
        recipe={**provenance.recipe, "variant": variant},
        lineage=lineage_of(provenance.recipe, exported.runtime, parents, (DATA, WEIGHTS, *provenance.roles)),
        remarks=tuple(filter(None, remarks)),
    )
    return Packaged(manifest, dict(exported.files), coded)


def travelling(files: Mapping[str, bytes]) -> tuple[tuple[File, ...], dict[str, bytes]]:
    """What a manifest says of an artifact's files, and what travels in place of those that are smaller coded, by path."""
    with codec_errors():
        every = codec.encode_files(files, dictionaries=True)
    coded = {path: code for path, code in every.items() if len(code) < len(files[path])}
    transfers = {path: Transfer(codec.coding_of(code), digest_of(code), len(code)) for path, code in coded.items()}
    named = (File(path, digest_of(data), len(data), transfers.get(path)) for path, data in sorted(files.items()))
    return tuple(named), coded


def _calibrated(variant: str, module: nn.Module, options: Options, examples: int) -> dict[str, Any]:
    """What a manifest's recipe says of how the ranges of int8 were found."""
    if variant not in _CALIBRATED:
        return {}
    if quantizers(module) and variant == "onnx-int8":
        return {"calibration": "trained"}
    return {"calibration": options.calibration.method, "calibration_examples": examples}


def exported_of(packaged: Packaged) -> Exported:
    """An artifact's files as an exporter gives them."""
    manifest = packaged.manifest
    return Exported(manifest.runtime, packaged.files, manifest.runtime_options, manifest.requires)


def answers_of(packaged: Packaged, raw: Inputs) -> Logits:
    """What an artifact answers to raw inputs, (n, classes), in its own runtime as the manifest says. Raises RuntimeFailure."""
    manifest = packaged.manifest
    return RUNNERS[manifest.runtime](exported_of(packaged), manifest.input.prepare(raw))


def _tolerance(exported: Exported, infer: Callable[..., Logits], probe: Prepared, answers: Logits, floor: float) -> float:
    """The largest difference between ways to run this artifact on this machine (graph optimisation off, one input at a time),
    times a margin; at least a fraction of the largest logit. Three digits, rounded up."""
    others = [infer(exported, probe, optimised=False), np.concatenate([infer(exported, row[None]) for row in probe])]
    seen = max(float(np.abs(other - answers).max()) for other in others)
    return float(f"{max(_MARGIN * seen, floor * float(np.abs(answers).max()), 1e-6) * 1.005:.3g}")


def _probe_places(dataset: Dataset) -> npt.NDArray[np.int64]:
    """Test examples that a probe holds: the first of each class, then from the start, as many as fit."""
    count = max(1, min(PROBES, len(dataset.test_y), MAX_PROBE_BYTES // dataset.test_x[0].size))
    firsts = np.sort(np.unique(dataset.test_y, return_index=True)[1])
    rest = np.setdiff1d(np.arange(min(len(dataset.test_y), len(firsts) + count)), firsts)
    return np.concatenate([firsts, rest])[:count].astype(np.int64)


def _spread(x: Inputs, count: int) -> Inputs:
    """At most `count` inputs, evenly from the whole."""
    return x[np.linspace(0, len(x) - 1, min(count, len(x))).astype(np.int64)]
