"""Every exporter over every architecture: the same cases, over the registries themselves."""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from littoral.architectures import REGISTRY, build
from littoral.preparation import Input
from littoral_cloud.data.dataset import Dataset
from littoral_cloud.export.exported import Exported
from littoral_cloud.packaging.package import EXPORTERS, RUNNERS
from littoral_cloud.training.preparation import input_of
from littoral_cloud.training.schedule import Schedule
from littoral_cloud.training.train import Trained, logits_of, train_teacher
from tests.kit.images import bars
from tests.kit.measured import series, table

SPECS = {
    "compact_cnn": {"widths": [8, 16]},
    "depthwise_1d": {"stem": 16, "stem_kernel": 5, "widths": [16], "kernels": [5], "last": [16], "last_kernel": 5, "dilation": 1},
    "lenet5": {"maps": [6, 12], "hidden": 16},
    "lenet_300_100": {"hidden": [16, 8]},
    "linear": {},
    "mobilenet_v1": {"stem": 8, "widths": [16, 16], "strides": [2, 1], "resolution": 0.7},
    "mobilenet_v2": {"stem": 8, "blocks": [[1, 8, 1, 1], [2, 12, 2, 2]], "last": 16},
    "perceptron": {"widths": [16, 8]},
    "recurrent_cnn": {"maps": 8, "strides": [2, 1]},
    "residual": {"widths": [8, 16], "depths": [1, 1]},
    "shufflenet_v1": {"groups": 2, "stem": 8, "stem_pool": False, "widths": [16], "depths": [2]},
    "shufflenet_v2": {"stem": 8, "stem_pool": False, "widths": [16], "depths": [2], "last": 16},
    "squeezenet": {"stem": 8, "stem_kernel": 3, "expands": [8, 8], "ratio": 4, "pools": [1], "norm": True, "dropout": 0.0},
}
# Largest difference from torch's logits, as a fraction of the largest logit. coremltools writes the scale of a resize a little
# larger than it is (1e-5), so that rounding down gives the size.
NEAR = {
    "onnx": 1e-5, "ncnn": 1e-5, "ncnn-fp16": 5e-3, "onnx-int8": 0.15, "onnx-int8-dynamic": 0.05, "onnx-int8-full": 0.15,
    "coreml": 5e-4, "coreml-fp16": 5e-3, "tensorrt-fp16": 1e-5, "tensorrt-int8": 0.15,
}  # fmt: skip


@functools.cache
def data() -> Dataset:
    return bars(480, channels=3)


@functools.cache
def trained(architecture: str) -> Trained:
    spec = {"name": architecture, **SPECS[architecture]}
    return train_teacher(data(), spec, epochs=3, seed=1, schedule=Schedule(batch=16, learning_rate=1e-2))


@functools.cache
def exported(architecture: str, variant: str) -> Exported:
    calibration = input_of(data()).prepare(data().train_x[:128])
    made: Exported = EXPORTERS[variant](trained(architecture).module, input_of(data()), calibration=calibration)
    return made


def answers(artifact: Exported, raw: np.ndarray) -> np.ndarray:
    logits: np.ndarray = RUNNERS[artifact.runtime](artifact, input_of(data()).prepare(raw))
    return logits


QUICK = ("linear", "perceptron", "lenet5", "compact_cnn", "mobilenet_v2", "recurrent_cnn", "depthwise_1d")
"""One of each kind; the others are slow."""


def test_every_architecture_is_tried_here() -> None:
    assert set(SPECS) == set(REGISTRY)
    assert set(NEAR) == set(EXPORTERS)


@pytest.mark.parametrize("variant", EXPORTERS)
@pytest.mark.parametrize(
    "architecture", [each if each in QUICK else pytest.param(each, marks=pytest.mark.slow) for each in REGISTRY]
)
def test_an_artifact_answers_as_the_network_does(
    architecture: str, variant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    network, artifact = trained(architecture), exported(architecture, variant)
    wanted = logits_of(network.module, network.input, data().test_x)
    given = answers(artifact, data().test_x)
    assert given.shape == (96, 3)
    assert given.dtype == np.float32
    assert np.abs(given - wanted).max() <= NEAR[variant] * np.abs(wanted).max()
    assert (given.argmax(1) == wanted.argmax(1)).mean() > 0.95
    assert np.abs(answers(artifact, data().test_x[:1]) - given[:1]).max() <= NEAR[variant] * np.abs(wanted).max()
    assert list(tmp_path.iterdir()) == [], "an exporter left files behind"
    assert all("/" not in name and not name.startswith(".") for name in artifact.files)


# What runtimes round each in their own way: odd edges under pooling and averaging, images that shrink, one row or column left.
EDGES: list[tuple[dict[str, Any], tuple[int, int, int]]] = [
    ({"name": "lenet5", "maps": [3, 4], "hidden": 8}, (1, 19, 23)),
    ({"name": "lenet5", "maps": [3, 4], "hidden": 8}, (1, 1, 10)),
    ({"name": "mobilenet_v2", "stem": 8, "blocks": [[2, 8, 2, 2]], "last": 16, "resolution": 0.3}, (3, 33, 40)),
    ({"name": "residual", "widths": [8, 12], "depths": [1, 1], "stem_stride": 2, "stem_pool": True}, (3, 29, 37)),
    ({"name": "shufflenet_v1", "stem": 12, "widths": [24, 48], "depths": [2, 1]}, (3, 25, 47)),
    ({"name": "shufflenet_v2", "widths": [24, 32], "depths": [1, 2], "last": 16}, (2, 3, 40)),
    ({"name": "squeezenet", "stem": 8, "expands": [8, 8], "ratio": 4, "pools": [1, 2, 3]}, (3, 27, 18)),
]


@pytest.mark.parametrize("variant", ["onnx", "ncnn", "coreml"])
@pytest.mark.parametrize(("spec", "shape"), EDGES, ids=lambda value: value["name"] if isinstance(value, dict) else str(value))
def test_odd_edges_are_cut_as_torch_cuts_them(spec: dict[str, Any], shape: tuple[int, int, int], variant: str) -> None:
    channels, height, width = shape
    torch.manual_seed(1)
    network = build(spec, channels=channels, height=height, width=width, classes=5)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_mean, -0.2, 0.2)
            nn.init.uniform_(layer.bias, -0.5, 0.5)
    network.eval()
    prepared = np.random.default_rng(1).normal(size=(3, *shape)).astype(np.float32)
    with torch.inference_mode():
        wanted = network(torch.from_numpy(prepared)).numpy()
    given = Input("input", shape, 1 / 255, (0.0,) * channels, (1.0,) * channels)
    artifact: Exported = EXPORTERS[variant](network, given, calibration=prepared)
    found = RUNNERS[artifact.runtime](artifact, prepared)
    assert np.abs(found - wanted).max() <= NEAR[variant] * np.abs(wanted).max()


MEASURED = [("perceptron", "table"), ("perceptron", "series"), ("depthwise_1d", "series")]


@functools.cache
def taught_on(architecture: str, kind: str) -> Trained:
    spec = {"name": architecture, **SPECS[architecture]}
    examples = {"table": table, "series": series}[kind]()
    return train_teacher(examples, spec, epochs=3, seed=1, schedule=Schedule(batch=16, learning_rate=1e-2))


@pytest.mark.parametrize("variant", EXPORTERS)
@pytest.mark.parametrize(("architecture", "kind"), MEASURED)
def test_rows_of_a_table_and_series_are_answered_as_the_network_does(architecture: str, kind: str, variant: str) -> None:
    network = taught_on(architecture, kind)
    examples = {"table": table, "series": series}[kind]()
    prepared = network.input.prepare(examples.train_x[:128])
    artifact: Exported = EXPORTERS[variant](network.module, network.input, calibration=prepared)
    wanted = logits_of(network.module, network.input, examples.test_x)
    given = RUNNERS[artifact.runtime](artifact, network.input.prepare(examples.test_x))
    assert np.abs(given - wanted).max() <= NEAR[variant] * np.abs(wanted).max()
    assert (given.argmax(1) == examples.test_y).mean() > 0.8


@pytest.mark.parametrize("variant", EXPORTERS)
def test_the_same_network_gives_the_same_bytes(variant: str) -> None:
    again: Exported = EXPORTERS[variant](
        copy.deepcopy(trained("compact_cnn").module), input_of(data()), calibration=input_of(data()).prepare(data().train_x[:128])
    )
    assert again == exported("compact_cnn", variant)


def test_the_network_is_not_changed_by_an_export() -> None:
    network = trained("compact_cnn")
    exported("compact_cnn", "onnx")
    assert any(isinstance(layer, nn.BatchNorm2d) for layer in network.module.modules())


@pytest.mark.parametrize("variant", ["onnx", "onnx-int8", "onnx-int8-dynamic"])
@pytest.mark.parametrize("architecture", REGISTRY)
def test_onnx_holds_the_graph_and_nothing_else(architecture: str, variant: str) -> None:
    artifact = exported(architecture, variant)
    model = onnx.load_from_string(artifact.files["model.onnx"])
    assert (model.ir_version, [(o.domain, o.version) for o in model.opset_import]) == (9, [("", 18)])
    assert artifact.requires == {"opset": 18, "ir": 9}
    graph = model.graph
    assert not [*model.metadata_props, *graph.metadata_props, *graph.value_info]
    assert model.doc_string + graph.doc_string + model.producer_name + model.producer_version + model.domain == ""
    assert not any(node.name or node.doc_string or node.metadata_props for node in graph.node)
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert [value.name for value in (*graph.input, *graph.output)] == ["input", "logits"]
    assert "BatchNormalization" not in {node.op_type for node in graph.node}


@pytest.mark.parametrize("architecture", REGISTRY)
def test_ncnn_calls_its_blobs_as_the_manifest_does_and_fp16_halves_the_weights(architecture: str) -> None:
    full, half = exported(architecture, "ncnn"), exported(architecture, "ncnn-fp16")
    layers = [line.split() for line in full.files["model.param"].decode().splitlines()[2:]]
    assert layers[0][:5] == ["Input", "input", "0", "1", "input"]
    assert any("logits" in layer for layer in layers)
    assert len(half.files["model.bin"]) < 0.6 * len(full.files["model.bin"])
    assert half.runtime_options == {"fp16": False}
