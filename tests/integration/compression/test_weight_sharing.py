"""Weights that are shared stay shared, zeros stay zero, and a training that stops goes on to the same weights."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from littoral import codec
from littoral.errors import BadInput
from littoral_cloud.compression.magnitude_pruning import Magnitude
from littoral_cloud.compression.methods import method_from
from littoral_cloud.compression.weight_sharing import Shared, WeightSharing
from littoral_cloud.data.dataset import Dataset
from littoral_cloud.export.onnx import export
from littoral_cloud.training.checkpoint import Checkpoints
from littoral_cloud.training.schedule import Schedule, Step
from littoral_cloud.training.train import Trained, accuracy_of, logits_of, train_teacher
from littoral_cloud.training.trainer import Trainer
from littoral_cloud.training.weights import arrays_of, module_of
from tests.kit.images import bars
from tests.kit.weights import shared_values, sparsity_of

PLAN = Schedule(batch=16, learning_rate=1e-2)
SLOW = Schedule(batch=16, learning_rate=1e-3)
BOOK = WeightSharing(epochs=2, schedule=SLOW, seed=3, bits=3)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return bars()


@pytest.fixture(scope="module")
def cnn(data: Dataset) -> Trained:
    return train_teacher(data, {"name": "compact_cnn", "widths": [4, 8]}, epochs=4, seed=1, schedule=PLAN)


@pytest.fixture(scope="module")
def dense(data: Dataset) -> Trained:
    return train_teacher(data, {"name": "lenet_300_100", "hidden": [20, 12]}, epochs=2, seed=1, schedule=PLAN)


@pytest.fixture(scope="module")
def sparse(data: Dataset, dense: Trained) -> Trained:
    return Magnitude(epochs=2, schedule=PLAN, seed=2, sparsity=0.8).apply(dense, Trainer(data))


def right(trained: Trained, data: Dataset) -> float:
    return accuracy_of(logits_of(trained.module, trained.input, data.test_x), data.test_y)


def weights(trained: Trained) -> dict[str, torch.Tensor]:
    return {k: p for k, p in trained.module.named_parameters() if k.endswith("weight")}


@pytest.mark.parametrize("bits", [2, 3, 4, 6])
@pytest.mark.parametrize("reassign", [0.0, 0.7])
def test_each_layer_holds_at_most_so_many_values_and_is_still_right(
    data: Dataset, cnn: Trained, bits: int, reassign: float
) -> None:
    shared = replace(BOOK, bits=bits, reassign=reassign).apply(cnn, Trainer(data))
    assert all(count <= 2**bits for count in shared_values(weights(shared).items()).values())
    assert right(shared, data) >= right(cnn, data) - (0.15 if bits == 2 else 0.05)
    for name, parameter in shared.module.named_parameters():
        values = parameter.detach().numpy()
        assert values.astype(np.float16).astype(np.float32).tobytes() == values.tobytes(), name
        assert not np.signbit(values[values == 0]).any(), name


def test_values_of_few_digits_travel_in_fewer_bytes_and_are_as_right(data: Dataset, cnn: Trained) -> None:
    fine = replace(BOOK, bits=4).apply(cnn, Trainer(data))
    rough = replace(BOOK, bits=4, digits=3).apply(cnn, Trainer(data))
    for name, parameter in weights(rough).items():
        fractions, _ = np.frexp(parameter.detach().numpy())
        assert (fractions * 8 == np.round(fractions * 8)).all(), name
    assert right(rough, data) >= right(fine, data) - 0.05
    given = np.zeros((1, 1, 12, 12), np.float32)
    sizes = [len(codec.encode(export(t.module, t.input, calibration=given).files["model.onnx"])) for t in (fine, rough)]
    assert sizes[1] < sizes[0] - 10


def test_norms_are_folded_before_weights_are_shared(data: Dataset, cnn: Trained) -> None:
    before = cnn.digest
    shared = BOOK.apply(cnn, Trainer(data))
    assert shared.spec == {**cnn.spec, "folded": True}
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in shared.module.modules())
    rebuilt = module_of(shared.spec, arrays_of(shared.module), channels=1, height=12, width=12, classes=3)
    x = torch.randn(2, 1, 12, 12)
    assert torch.allclose(rebuilt(x), shared.module(x), atol=1e-6)
    assert cnn.digest == before == Trained.of("x", cnn.module, cnn.spec, cnn.input, 0).digest


@pytest.mark.parametrize("quantiser", ["k-means", "uniform"])
@pytest.mark.parametrize("reassign", [0.0, 0.7])
def test_a_pruned_weight_stays_0_and_is_no_member(data: Dataset, sparse: Trained, quantiser: Any, reassign: float) -> None:
    shared = replace(BOOK, quantiser=quantiser, reassign=reassign).apply(sparse, Trainer(data))
    assert shared.spec == sparse.spec
    for name, before in weights(sparse).items():
        after = weights(shared)[name]
        assert not after[before == 0].any()
        if quantiser == "k-means":
            assert after[before != 0].all()
            assert len(after[after != 0].unique()) <= 8
        else:
            step = after[after != 0].abs().min()
            codes = torch.round(after / step)
            assert codes.abs().max() <= 3 * torch.round(after.abs().max() / step / 3).clamp(min=1)
            assert len(after.unique()) <= 7


def test_members_move_together_by_the_sum_of_their_gradients(data: Dataset, sparse: Trained) -> None:
    """One step of the paper's fine-tuning, by hand."""
    plan = replace(BOOK, reassign=0.0, digits=24, bias=32)
    held = Shared(plan.bits_of(sparse.module), plan)
    module = module_of(sparse.spec, arrays_of(sparse.module), channels=1, height=12, width=12, classes=3)
    held.attach(module)
    weight = module.get_parameter("fc1.weight")
    shared = weight.detach().clone()
    weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
    gradient = weight.grad.clone()
    for name, parameter in module.named_parameters():
        if name != "fc1.weight":
            parameter.grad = torch.zeros_like(parameter)
    held.before_step(module, 1, 10)
    for value in shared[shared != 0].unique():
        members = shared == value
        assert torch.allclose(weight.grad[members], gradient[members].sum(), atol=1e-5)
    with torch.no_grad():
        weight -= 0.01 * weight.grad
    held.after_step(module, 1, 10)
    for value in shared[shared != 0].unique():
        members = shared == value
        assert torch.allclose(weight[members], value - 0.01 * gradient[members].sum(), atol=1e-5)
        assert len(weight[members].unique()) == 1


def test_a_rate_makes_the_code_shorter_and_more_weights_0(data: Dataset, dense: Trained) -> None:
    plain = replace(BOOK, bits=4).apply(dense, Trainer(data))
    priced = replace(BOOK, bits=4, rate=0.03).apply(dense, Trainer(data))
    assert entropy(priced) < 0.9 * entropy(plain)
    assert sum(sparsity_of(priced.module).values()) > sum(sparsity_of(plain.module).values())
    assert right(priced, data) >= right(dense, data) - 0.1


def entropy(trained: Trained) -> float:
    """Bits of all weights, each layer coded by how often its values occur."""
    bits = 0.0
    for weight in weights(trained).values():
        counts = np.unique(weight.detach().numpy(), return_counts=True)[1]
        bits -= float((counts * np.log2(counts / counts.sum())).sum())
    return bits


def test_by_damage_the_layer_on_which_more_hangs_stays_finer(dense: Trained) -> None:
    plan = replace(BOOK, bits=4, rate=0.2, quantiser="uniform")
    bits = {}
    for weigh in ("size", "saliency"):
        module = copy.deepcopy(dense.module)
        shared = Shared(plan.bits_of(module), replace(plan, weigh=weigh))
        shared.attach(module)
        for step in range(1, 11):
            for name, parameter in module.named_parameters():
                parameter.grad = torch.full_like(parameter, 1.0 if name == "fc1.weight" else 0.1)
            shared.before_step(module, step, 10)
            shared.after_step(module, step, 10)
        bits[weigh] = _bits(replace(dense, module=module))
    assert bits["saliency"]["fc1.weight"] > bits["size"]["fc1.weight"] + 0.2
    assert bits["saliency"]["fc2.weight"] < bits["size"]["fc2.weight"]


def _bits(net: Trained) -> dict[str, float]:
    """Of a weight of each layer, by how often each value is there."""
    found = {}
    for name, weight in weights(net).items():
        share = torch.unique(weight, return_counts=True)[1] / weight.numel()
        found[name] = float(-(share * share.log2()).sum())
    return found


def test_layers_and_biases_may_have_bits_of_their_own(data: Dataset, cnn: Trained) -> None:
    book = replace(BOOK, bits=4, conv_bits=2, layers={"features.conv1": 5}, bias=2)
    shared = book.apply(cnn, Trainer(data))
    counts = shared_values(shared.module.named_parameters())
    assert 4 < counts["features.conv1.weight"] <= 32
    assert counts["features.conv2.weight"] <= 4
    assert 4 < counts["classify.weight"] <= 16 or shared.module.get_parameter("classify.weight").numel() <= 16
    assert all(count <= 4 for name, count in counts.items() if name.endswith("bias"))


def test_what_has_few_values_lies_on_steps_of_a_power_of_two_and_travels_shorter(data: Dataset, cnn: Trained) -> None:
    usual = replace(BOOK, bits=4, bias=8)
    shared = replace(usual, small=4).apply(cnn, Trainer(data))
    few = {name: p.detach().numpy() for name, p in shared.module.named_parameters() if p.numel() < 64}
    assert {"features.conv1.weight", "classify.bias"} <= set(few)
    for name, values in few.items():
        steps = [2.0**power for power in range(-24, 8) if np.abs(values).max() <= 7 * 2.0**power]
        assert any(np.array_equal(np.round(values / step), values / step) for step in steps), name
    assert right(shared, data) >= right(cnn, data) - 0.05
    assert travels(shared) < travels(usual.apply(cnn, Trainer(data)))


def travels(trained: Trained) -> int:
    """Bytes of the coded ONNX file."""
    no_calibration = np.zeros((1, *trained.input.shape), np.float32)
    artifact = export(trained.module, trained.input, calibration=no_calibration)
    return sum(len(codec.encode(content)) for content in artifact.files.values())


@pytest.mark.parametrize(
    "book", [BOOK, replace(BOOK, quantiser="uniform", bias=3, every=4), replace(BOOK, rate=0.02, reassign=0.5, weigh="saliency")]
)
@pytest.mark.parametrize("stopped_at", [3, 12, 20])
def test_sharing_that_is_stopped_ends_with_the_same_weights(
    data: Dataset, sparse: Trained, tmp_path: Path, book: WeightSharing, stopped_at: int
) -> None:
    def stop(told: Step) -> None:
        if told.step == stopped_at:
            raise KeyboardInterrupt

    whole = book.apply(sparse, Trainer(data))
    kept = Checkpoints(tmp_path, every=1)
    with pytest.raises(KeyboardInterrupt):
        book.apply(sparse, Trainer(data, checkpoints=kept, progress=stop))
    told: list[int] = []
    again = book.apply(sparse, Trainer(data, checkpoints=kept, progress=lambda step: told.append(step.step)))
    assert told[0] == stopped_at + 1
    assert again.digest == whole.digest


def test_a_convolution_whose_channels_lie_last_resumes_as_well(data: Dataset, cnn: Trained, tmp_path: Path) -> None:
    def stop(told: Step) -> None:
        if told.step == 7:
            raise KeyboardInterrupt

    whole = BOOK.apply(cnn, Trainer(data))
    kept = Checkpoints(tmp_path, every=1)
    with pytest.raises(KeyboardInterrupt):
        BOOK.apply(cnn, Trainer(data, checkpoints=kept, progress=stop))
    assert BOOK.apply(cnn, Trainer(data, checkpoints=kept)).digest == whole.digest


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bits": 7}, r"weight-sharing\.bits: 7"),
        ({"layers": {"fc1": 1}}, r"weight-sharing\.layers\.fc1: 1"),
        ({"bias": 12}, r"weight-sharing\.bias: 12"),
        ({"small": 1}, r"weight-sharing\.small: 1"),
        ({"rate": 0.1, "reassign": 0.0}, r"weight-sharing\.rate"),
        ({"weigh": "much"}, r"weight-sharing\.weigh"),
        ({"every": 0}, r"weight-sharing\.every: 0"),
        ({"digits": 1}, r"weight-sharing\.digits: 1"),
        ({"digits": 25}, r"weight-sharing\.digits: 25"),
        ({"quantiser": "cubic"}, r"quantiser: 'cubic'"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(settings: dict[str, Any], message: str) -> None:
    table = {"kind": "weight-sharing", "epochs": 1, **settings}
    with pytest.raises(BadInput, match=message):
        method_from(table, "student", student={"schedule": {}, "seed": 1})


def test_a_layer_that_is_not_there_is_refused_with_the_nearest(data: Dataset, cnn: Trained) -> None:
    with pytest.raises(BadInput, match="no layer 'clasify'") as refused:
        replace(BOOK, layers={"clasify": 4}).apply(cnn, Trainer(data))
    assert "classify" in refused.value.hint


def test_a_recipe_describes_it(data: Dataset, cnn: Trained) -> None:
    table = {"kind": "weight-sharing", "epochs": 1, "bits": 4, "rate": 0.01, "layers": {"classify": 5}}
    book = method_from(table, "student", student={"schedule": {"learning_rate": 1e-3}, "seed": 7})
    assert isinstance(book, WeightSharing)
    assert (book.rate, book.layers, book.seed, book.schedule.learning_rate) == (0.01, {"classify": 5}, 7, 1e-3)
    assert book.resolved()["kind"] == "weight-sharing"
