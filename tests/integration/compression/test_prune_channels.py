"""Whole channels go, and what is left is a smaller network that every side builds from its spec."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from littoral.architectures import REGISTRY, build, small_spec
from littoral.architectures.folded import folded, folded_spec
from littoral.errors import BadInput
from littoral_cloud.compression.channel_pruning import Channels
from littoral_cloud.compression.method import Method
from littoral_cloud.data.dataset import Dataset
from littoral_cloud.export import ncnn, onnx
from littoral_cloud.training.checkpoint import Checkpoints
from littoral_cloud.training.preparation import input_of
from littoral_cloud.training.schedule import Progress, Schedule, Step
from littoral_cloud.training.seeding import computing
from littoral_cloud.training.train import Trained, accuracy_of, logits_of, train_teacher
from littoral_cloud.training.trainer import Trainer
from littoral_cloud.training.weights import arrays_of, module_of
from tests.kit.images import bars

QUICK = Schedule(batch=16, learning_rate=1e-2)
SIZE = {"channels": 1, "height": 12, "width": 12, "classes": 3}

REFUSED = {
    "shufflenet_v1": r"of ShuffleNetV1 cannot be taken out",  # groups and shuffles have fixed widths
    "shufflenet_v2": r"of ShuffleNetV2 cannot be taken out",  # its units cut their input in two, put together from two sides
}
"""Architectures whose own code holds channels in place; all others must be pruned."""
ANSWERS_ALONE = ("linear",)
"""Architectures that have no channels but the logits, which always stay."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with computing(1):
        yield


@pytest.fixture(scope="module")
def data() -> Dataset:
    return bars()


def untrained(spec: dict[str, Any], data: Dataset) -> Trained:
    with torch.random.fork_rng():
        torch.manual_seed(4)
        module = build(spec, **SIZE)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5, generator=torch.Generator().manual_seed(1))
    return Trained.of("net", module, spec, input_of(data), 0.0)


def macs_of(module: nn.Module) -> int:
    """Of convolutions and linear layers, for one input."""
    seen: list[int] = []
    hooks = [
        layer.register_forward_hook(lambda m, _i, out: seen.append(m.weight[0].numel() * out[0].numel()))
        for layer in module.modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    ]
    with torch.no_grad():
        module(torch.zeros(1, 1, 12, 12))
    for hook in hooks:
        hook.remove()
    return sum(seen)


@pytest.mark.parametrize("name", [name for name in REGISTRY if name not in (*REFUSED, *ANSWERS_ALONE)])
def test_every_architecture_but_the_refused_loses_half_of_its_channels(name: str, data: Dataset) -> None:
    student = untrained(small_spec(name), data)
    before = student.digest
    pruned = Channels(1, QUICK, 1).apply(student, Trainer(data))
    assert pruned.parameters < 0.6 * student.parameters
    assert macs_of(pruned.module) < 0.6 * macs_of(student.module)
    spec = json.loads(json.dumps(pruned.spec))
    rebuilt = module_of(spec, arrays_of(pruned.module), **SIZE)
    x = torch.randn(2, 1, 12, 12, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(rebuilt(x), pruned.module(x))
    assert Trained.of("net", student.module, student.spec, student.input, 0.0).digest == before


@pytest.mark.parametrize("name", ANSWERS_ALONE)
def test_an_architecture_of_nothing_but_its_answers_keeps_them(name: str, data: Dataset) -> None:
    student = untrained(small_spec(name), data)
    pruned = Channels(1, QUICK, 1).apply(student, Trainer(data))
    assert (pruned.parameters, pruned.spec) == (student.parameters, student.spec)


@pytest.mark.parametrize("name", REFUSED)
def test_an_architecture_that_holds_its_channels_in_place_is_refused_by_the_layers_name(name: str, data: Dataset) -> None:
    student = untrained(small_spec(name), data)
    with pytest.raises(BadInput, match=REFUSED[name]) as refused:
        Channels(1, QUICK, 1).apply(student, Trainer(data))
    layer = refused.value.message.split("layer ")[1].split(" ")[0]
    assert isinstance(student.module.get_submodule(layer), nn.Conv2d)
    assert layer in refused.value.hint


class Shuffled(nn.Module):
    """torch-pruning takes the permutation for nothing, and would leave shapes that fit around wrong channels."""

    def __init__(self, kept: nn.Module) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 4, 3, padding=1)
        self.classify = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.classify(self.second(self.first(x).flip(1)).mean((2, 3)))
        return out


def test_channels_that_would_be_taken_from_the_wrong_place_are_noticed(data: Dataset) -> None:
    student = untrained({"name": "compact_cnn", "widths": [8, 4]}, data)
    torch.manual_seed(1)  # of channels that a flip maps to each other, nothing would show
    twisted = Trained.of("net", Shuffled(student.module), student.spec, student.input, 0.0)
    with pytest.raises(BadInput, match="layer first of Shuffled cannot be taken out: the network without these channels answers"):
        Channels(1, QUICK, 1).apply(twisted, Trainer(data))


@pytest.fixture(scope="module")
def student(data: Dataset) -> Trained:
    return train_teacher(data, {"name": "compact_cnn", "widths": [16, 24]}, epochs=2, seed=1, schedule=QUICK, name="net")


def test_the_smaller_network_is_fine_tuned_and_exports_smaller_to_both_runtimes(student: Trained, data: Dataset) -> None:
    pruned = Channels(2, QUICK, 1).apply(student, Trainer(data))
    assert accuracy_of(logits_of(pruned.module, pruned.input, data.test_x), data.test_y) >= 0.9
    prepared = student.input.prepare(data.test_x)
    for room in (onnx, ncnn):
        big, small = (room.export(net.module, net.input, calibration=prepared) for net in (student, pruned))
        assert small.bytes < 0.6 * big.bytes
        torch.testing.assert_close(
            torch.from_numpy(room.infer(small, prepared)),
            torch.from_numpy(logits_of(pruned.module, pruned.input, data.test_x)),
            atol=1e-3,
            rtol=1e-3,
        )


def test_layers_may_have_a_ratio_of_their_own_or_stay_whole(student: Trained, data: Dataset) -> None:
    plan = Channels(1, QUICK, 1, ratio=0.5, layers={"features.conv1": 0.25})
    assert plan.apply(student, Trainer(data)).spec["pruned"]["features.conv1"] == [12, 1, 1]
    plan = Channels(1, QUICK, 1, ratio=0.5, skip=("features.conv1",))
    assert plan.apply(student, Trainer(data)).spec["pruned"]["features.conv2"] == [12, 16, 1]


def test_channels_that_stay_are_rounded(student: Trained, data: Dataset) -> None:
    sizes = Channels(1, QUICK, 1, ratio=0.4, round_to=8).apply(student, Trainer(data)).spec["pruned"]
    assert (sizes["features.conv1"][0], sizes["features.conv2"][0]) == (8, 8)


def test_nothing_to_take_out_leaves_the_spec_as_it_was(student: Trained, data: Dataset) -> None:
    assert Channels(1, QUICK, 1, ratio=0.0).apply(student, Trainer(data)).spec == student.spec


def test_a_pruned_network_is_pruned_again(student: Trained, data: Dataset) -> None:
    half = Channels(1, QUICK, 1).apply(student, Trainer(data))
    quarter = Channels(1, QUICK, 1).apply(half, Trainer(data))
    assert (half.spec["pruned"]["features.conv2"], quarter.spec["pruned"]["features.conv2"]) == ([12, 8, 1], [6, 4, 1])


def stop_at(name: str, step: int) -> Progress:
    def progress(told: Step) -> None:
        if (told.name, told.step) == (name, step):
            raise KeyboardInterrupt

    return progress


@pytest.mark.parametrize("place", [("net-channels-step1", 5), ("net-channels-step1", 12), ("net-channels", 7)])
def test_pruning_in_steps_that_is_stopped_ends_with_the_same_weights(
    student: Trained, data: Dataset, tmp_path: Path, place: tuple[str, int]
) -> None:
    plan = Channels(2, QUICK, 1, steps=2)
    whole = plan.apply(student, Trainer(data))
    kept = Checkpoints(tmp_path, every=1)
    with pytest.raises(KeyboardInterrupt):
        plan.apply(student, Trainer(data, checkpoints=kept, progress=stop_at(*place)))
    told: list[tuple[str, int]] = []
    again = plan.apply(student, Trainer(data, checkpoints=kept, progress=lambda step: told.append((step.name, step.step))))
    assert again.digest == whole.digest
    assert place not in told
    assert whole.spec["pruned"]["features.conv1"] == [8, 1, 1]


def test_it_is_a_method_whose_settings_are_json() -> None:
    method: Method = Channels(2, QUICK, 1, layers={"a": 0.25}, skip=("b",))
    said = json.loads(json.dumps(method.resolved()))
    assert (said["kind"], said["layers"], said["skip"]) == ("channels", {"a": 0.25}, ["b"])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"ratio": 1.0}, "channels.ratio: 1.0"),
        ({"ratio": float("nan")}, "channels.ratio: nan"),
        ({"layers": {"a": -0.1}}, "channels.layers.a: -0.1"),
        ({"steps": 0}, "0 steps in 1 epochs"),
        ({"steps": 2}, "2 steps in 1 epochs"),
        ({"round_to": 0}, "channels.round_to: 0"),
        ({"layers": {"a": 0.1}, "skip": ("a",)}, "channels.skip: a has a ratio"),
    ],
)
def test_a_setting_out_of_range_is_named(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        Channels(1, QUICK, 1, **settings)


def test_layers_that_are_not_there_or_belong_together_are_named(data: Dataset) -> None:
    student = untrained(small_spec("residual"), data)
    with pytest.raises(BadInput, match=r"no layer 'stem\.cov' .*nearest: stem\.conv"):
        Channels(1, QUICK, 1, skip=("stem.cov",)).apply(student, Trainer(data))
    together = {"stem.conv": 0.5, "blocks.stage1_block1.conv2": 0.25}
    with pytest.raises(BadInput, match=r"blocks\.stage1_block1\.conv2 and stem\.conv lose the same channels"):
        Channels(1, QUICK, 1, layers=together).apply(student, Trainer(data))


@pytest.mark.parametrize(
    ("pruned", "words"),
    [
        (7, "architecture.pruned: 7 must map"),
        ({"features.conv9": [1, 1, 1]}, "pruned.features.conv9: there is no such layer"),
        ({"features": [1, 1, 1]}, "pruned.features: there is no such layer"),
        ({"features.relu1": [1]}, "pruned.features.relu1: there is no such layer"),
        ({3: [1]}, "pruned.3: there is no such layer"),
        ({"features.conv1": [4, 1]}, r"pruned.features.conv1: \[4, 1\] must be 3 whole numbers"),
        ({"features.conv1": "big"}, "must be 3 whole numbers"),
        ({"features.conv1": [10**9, 1, 1]}, "1000000000 must be a whole number from 1 to 8"),
        ({"features.conv1": [0, 1, 1]}, "0 must be a whole number from 1 to 8"),
        ({"features.conv1": [True, 1, 1]}, "True must be a whole number"),
        ({"features.conv1": [4.0, 1, 1]}, "4.0 must be a whole number"),
        ({"features.conv2": [4, 8, 2]}, "2 must be a whole number from 1 to 1"),
        ({"features.norm1": [9]}, "9 must be a whole number from 1 to 8"),
        ({"features.conv1": [4, 1, 1]}, "the sizes do not fit together"),
        ({"classify": [2, 16]}, r"would give \(2,\), not 3 logits"),
    ],
)
def test_hostile_sizes_in_a_spec_are_refused_by_name(pruned: Any, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        build({"name": "compact_cnn", "widths": [8, 16], "pruned": pruned}, **SIZE)


def test_groups_that_do_not_divide_are_refused() -> None:
    spec = small_spec("mobilenet_v1")
    name, layer = next((n, m) for n, m in build(spec, **SIZE).named_modules() if isinstance(m, nn.Conv2d) and m.groups > 4)
    with pytest.raises(BadInput, match="3 groups do not divide"):
        build({**spec, "pruned": {name: [layer.out_channels, layer.in_channels, 3]}}, **SIZE)


def test_a_spec_without_pruned_layers_builds_what_it_always_built() -> None:
    def built(spec: dict[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
        with torch.random.fork_rng():
            torch.manual_seed(1)
            return arrays_of(build(spec, **SIZE))

    spec = small_spec("residual")
    plain, empty = built(spec), built({**copy.deepcopy(spec), "pruned": {}})
    assert plain.keys() == empty.keys()
    assert all(np.array_equal(plain[name], empty[name]) for name in plain)


def test_a_folded_network_is_pruned_as_well(student: Trained, data: Dataset) -> None:
    module = copy.deepcopy(student.module)
    spec = folded_spec(student.spec, module)
    flat = Trained.of("net", folded(module), spec, student.input, 0.0)
    pruned = Channels(1, QUICK, 1).apply(flat, Trainer(data))
    assert pruned.spec["folded"] is True
    assert pruned.spec["pruned"] == {"features.conv1": [8, 1, 1], "features.conv2": [12, 8, 1], "classify": [3, 12]}
    module_of(pruned.spec, arrays_of(pruned.module), **SIZE)


def test_a_network_on_a_grid_is_not_pruned_any_more(student: Trained, data: Dataset) -> None:
    quantized = replace(student, spec={**student.spec, "folded": True, "quantized": True})
    with pytest.raises(BadInput, match="channels: net is quantized"):
        Channels(1, QUICK, 1).apply(quantized, Trainer(data))
