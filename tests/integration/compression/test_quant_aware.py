"""Quantization-aware training: every layer is on its grid, and the int8 artifact answers as the network in training did."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from littoral.architectures import REGISTRY, build, small_spec
from littoral.architectures.folded import folded, folded_spec, pairs
from littoral.architectures.quantized import QuantizedConv2d, QuantizedLinear, on_grid, quantized, quantizers, weight_scale
from littoral.errors import BadInput
from littoral_cloud.compression.methods import method_from
from littoral_cloud.compression.qat import Qat, measure
from littoral_cloud.compression.weight_sharing import WeightSharing
from littoral_cloud.data.dataset import Dataset
from littoral_cloud.export.int8 import export_int8
from littoral_cloud.export.onnx import export, infer
from littoral_cloud.packaging.package import Bench, candidates_from
from littoral_cloud.training.checkpoint import Checkpoints
from littoral_cloud.training.schedule import Schedule, Step
from littoral_cloud.training.train import Trained, accuracy_of, logits_of, train_teacher
from littoral_cloud.training.trainer import Trainer
from littoral_cloud.training.weights import arrays_of, module_of
from tests.kit.images import bars

PLAN = Schedule(batch=16, learning_rate=1e-2)
QAT = Qat(epochs=1, schedule=Schedule(batch=16, learning_rate=1e-3), seed=3, examples=64)
SHAPE = {"channels": 1, "height": 12, "width": 12, "classes": 3}


@pytest.fixture(scope="module")
def data() -> Dataset:
    return bars()


@pytest.fixture(scope="module")
def bench(data: Dataset) -> Bench:
    return Bench.of(data)


@pytest.fixture(scope="module")
def net(data: Dataset) -> Trained:
    return train_teacher(data, {"name": "residual", "widths": [4, 8], "depths": [1, 1]}, epochs=2, seed=1, schedule=PLAN)


@pytest.fixture(scope="module")
def aware(data: Dataset, net: Trained) -> Trained:
    return QAT.apply(net, Trainer(data))


def stirred(name: str) -> nn.Module:
    """A network whose norms do something."""
    with torch.random.fork_rng():
        torch.manual_seed(4)
        module = build(small_spec(name), channels=1, height=28, width=28, classes=10).eval()
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm2d):
                nn.init.uniform_(layer.running_mean, -1, 1)
                nn.init.uniform_(layer.running_var, 0.5, 2)
                nn.init.uniform_(layer.weight, -1, 1)
                nn.init.uniform_(layer.bias, -1, 1)
    return module


@pytest.mark.parametrize("name", REGISTRY)
def test_a_folded_network_is_the_same_function_and_is_built_from_its_spec(name: str) -> None:
    module = stirred(name)
    norms = sum(isinstance(layer, nn.BatchNorm2d) for layer in module.modules())
    x = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = module(x)
        spec = folded_spec(small_spec(name), module)
        assert spec.get("folded", False) == (norms > 0)
        assert len(list(pairs(module))) == norms
        rebuilt = module_of(spec, arrays_of(folded(module)), channels=1, height=28, width=28, classes=10)
        assert not any(isinstance(layer, nn.BatchNorm2d) for layer in rebuilt.modules())
        assert torch.allclose(rebuilt(x), wanted, atol=1e-5 * float(wanted.abs().max()))


@pytest.mark.parametrize("name", REGISTRY)
def test_every_convolution_and_linear_layer_is_quantized_and_reads_rounded_values(name: str) -> None:
    """A library that only knows linear layers would leave convolutions as they are without a word."""
    module = folded(stirred(name))
    layers = sum(isinstance(layer, nn.Conv2d | nn.Linear) for layer in module.modules())
    x = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = module(x)
        network = quantized(module)
        seen: dict[nn.Module, bool] = {}  # by layer: whether all that it read is rounded; one may read more than once

        def look(layer: nn.Module, given: tuple[torch.Tensor]) -> None:
            seen[layer] = seen.get(layer, True) and len(given[0].unique()) <= 256

        found = [layer for layer in network.modules() if isinstance(layer, QuantizedConv2d | QuantizedLinear)]
        assert len(found) == layers
        assert sum(isinstance(layer, nn.Conv2d | nn.Linear) for layer in network.modules()) == layers
        for quantizer in quantizers(network):
            quantizer.low.zero_()
            quantizer.high.zero_()
            quantizer.measuring = True
        network(x)
        for quantizer in quantizers(network):
            quantizer.measuring = False
        for layer in found:
            layer.register_forward_pre_hook(look)
        given = network(x)
    assert all(seen.values())
    assert len(seen) == layers
    assert (given - wanted).abs().max() < 0.1 * wanted.abs().max()
    assert len(given.unique()) >= 10  # the logits are not rounded


def test_weights_lie_on_64_steps_of_each_channel(net: Trained) -> None:
    weight = net.module.get_parameter("stem.conv.weight").detach()
    codes = on_grid(weight) / weight_scale(weight).view(-1, 1, 1, 1)
    assert torch.allclose(codes, codes.round(), atol=1e-4)
    assert codes.abs().flatten(1).amax(1).tolist() == pytest.approx([64] * len(weight))
    assert torch.equal(on_grid(torch.zeros(2, 3)), torch.zeros(2, 3))


def test_the_artifact_answers_as_the_network_in_training_did(aware: Trained, net: Trained, data: Dataset, bench: Bench) -> None:
    artifact = export_int8(aware.module, aware.input, calibration=bench.calibration[:0])
    wanted, given = logits_of(aware.module, aware.input, data.test_x), infer(artifact, bench.test)
    assert np.abs(given - wanted).max() < 0.01 * np.abs(wanted).max()
    assert (given.argmax(1) == wanted.argmax(1)).mean() >= 0.97
    assert accuracy_of(given, data.test_y) >= accuracy_of(logits_of(net.module, net.input, data.test_x), data.test_y) - 0.05
    model = onnx.load_from_string(artifact.files["model.onnx"])
    kinds = Counter(tensor.data_type for tensor in model.graph.initializer if len(tensor.dims) > 1)
    assert kinds == {onnx.TensorProto.INT8: 7}
    # Each value is rounded with the very step that training ended with.
    steps = {round(float(quantizer.steps()[0]), 9) for quantizer in quantizers(aware.module)}
    scalars = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer if not len(tensor.dims)}
    written = {round(float(scalars[n.input[1]]), 9) for n in model.graph.node if n.op_type == "QuantizeLinear"}
    assert written == steps


@pytest.mark.slow
def test_other_variants_of_it_are_exported_as_well(aware: Trained, bench: Bench) -> None:
    packaged = candidates_from(aware, bench, ("onnx", "onnx-int8", "ncnn"), model="bars", name="aware")
    assert packaged[1].manifest.recipe == {"variant": "onnx-int8", "calibration": "trained"}
    assert all(p.manifest.accuracy > 0.8 for p in packaged)
    onnx32 = onnx.load_from_string(export(aware.module, aware.input, calibration=bench.calibration).files["model.onnx"])
    assert not {n.op_type for n in onnx32.graph.node} & {"QuantizeLinear", "DequantizeLinear"}


def test_its_spec_and_weights_make_it_again(aware: Trained) -> None:
    assert (aware.spec["folded"], aware.spec["quantized"]) == (True, True)
    rebuilt = module_of(aware.spec, arrays_of(aware.module), **SHAPE)
    x = torch.randn(2, 1, 12, 12)
    assert torch.allclose(rebuilt(x), aware.module(x), atol=1e-5)
    assert any(name.endswith(".high") for name in arrays_of(aware.module))


def test_ranges_begin_with_what_the_images_show_and_follow_while_training(aware: Trained, net: Trained, data: Dataset) -> None:
    module = quantized(folded(module_of(net.spec, arrays_of(net.module), **SHAPE)))
    measure(module, net.input, data.train_x)
    first = quantizers(module)[0]
    shown = net.input.prepare(data.train_x)
    assert (float(first.low), float(first.high)) == (float(shown.min()), float(shown.max()))
    before = [float(quantizer.high) for quantizer in quantizers(module)]
    assert [float(quantizer.high) for quantizer in quantizers(aware.module)] != before
    low, high = first.low.clone(), first.high.clone()
    module.eval()(torch.full((1, 1, 12, 12), 100.0))
    assert (first.low, first.high) == (low, high)


@pytest.mark.parametrize("stopped_at", [1, 7, 12])
def test_training_for_int8_that_is_stopped_ends_with_the_same_weights(
    aware: Trained, net: Trained, data: Dataset, tmp_path: Path, stopped_at: int
) -> None:
    def stop(told: Step) -> None:
        if told.step == stopped_at:
            raise KeyboardInterrupt

    kept = Checkpoints(tmp_path, every=1)
    with pytest.raises(KeyboardInterrupt):
        QAT.apply(net, Trainer(data, checkpoints=kept, progress=stop))
    told: list[int] = []
    again = QAT.apply(net, Trainer(data, checkpoints=kept, progress=lambda step: told.append(step.step)))
    assert told[:1] == ([stopped_at + 1] if stopped_at < 12 else [])
    assert again.digest == aware.digest


def test_what_cannot_be_is_refused(aware: Trained, data: Dataset) -> None:
    with pytest.raises(BadInput, match=r"qat\.examples: 0"):
        method_from({"kind": "qat", "epochs": 1, "examples": 0}, "student", student={"schedule": {}, "seed": 1})
    with pytest.raises(BadInput, match="int8 already"):
        QAT.apply(aware, Trainer(data))
    with pytest.raises(BadInput, match="weight-sharing or qat"):
        WeightSharing(epochs=1, schedule=PLAN, seed=1).apply(aware, Trainer(data))
    with pytest.raises(BadInput, match="folded"):
        build({"name": "perceptron", "folded": "yes"}, **SHAPE)
