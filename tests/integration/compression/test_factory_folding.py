"""A bias that the next layer's own can say as well is moved there, and no other; the function stays."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from torch import nn

from littoral import codec
from littoral.architectures import build, small_spec
from littoral.architectures.folded import folded
from littoral.architectures.tracing import traced
from littoral_cloud.compression.folding import move_biases
from littoral_cloud.compression.weight_sharing import WeightSharing
from littoral_cloud.data.dataset import Dataset
from littoral_cloud.export import onnx
from littoral_cloud.training.schedule import Schedule
from littoral_cloud.training.seeding import seeded
from littoral_cloud.training.train import train_teacher
from littoral_cloud.training.trainer import Trainer
from tests.kit.images import bars

LENET = {"name": "lenet5", "maps": [4, 6], "hidden": 12}


def network(spec: Any) -> nn.Module:
    with seeded(1):
        net = folded(build(spec, channels=1, height=28, width=28, classes=10)).eval()
        for name, parameter in net.named_parameters():
            if name.endswith("bias"):
                nn.init.normal_(parameter, std=0.3)
    return net


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("lenet5", ["conv1", "conv2"]),  # pools alone between them
        ("lenet_300_100", []),  # rectifiers
        ("compact_cnn", []),
        ("mobilenet_v2", [f"blocks.block{n}.project.conv" for n in (1, 3, 5)]),  # no rectifier after a projection, and no sum
    ],
)
def test_what_only_shifts_the_next_layer_is_moved(name: str, layers: list[str]) -> None:
    net = network(small_spec(name))
    x = torch.rand(8, 1, 28, 28)
    before = net(x)
    assert move_biases(net, x[:3]) == layers
    assert torch.allclose(net(x), before, atol=1e-5 * float(before.detach().abs().max()))
    assert [n for n, p in net.named_parameters() if n.endswith("bias") and not p.any()] == [f"{layer}.bias" for layer in layers]


def test_a_padded_edge_keeps_its_bias() -> None:
    net = network({**LENET, "padding": 2})
    assert move_biases(net, torch.rand(3, 1, 28, 28)) == ["conv2"]


def test_a_small_bias_behind_a_rectifier_stays() -> None:
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(2 * 64, 3))
    bias = net[0].bias
    assert isinstance(bias, nn.Parameter)
    nn.init.constant_(bias, 1e-5)
    assert move_biases(net, torch.rand(3, 1, 12, 12)) == ["2"]
    assert bias.detach().tolist() == pytest.approx([1e-5] * 3)


def test_a_network_without_them_travels_in_fewer_bytes() -> None:
    data: Dataset = bars()
    plan = Schedule(batch=16, learning_rate=1e-3)
    net = train_teacher(data, LENET, epochs=1, seed=1, schedule=plan)
    sizes = {}
    for move in (False, True):
        made = WeightSharing(epochs=1, schedule=plan, seed=1, bits=3, move_biases=move).apply(net, Trainer(data))
        assert bool(made.module.get_parameter("conv2.bias").any()) is not move  # conv1 stands before a padded edge here
        artifact = onnx.export(made.module, made.input, calibration=made.input.prepare(data.test_x[:1]))
        sizes[move] = sum(len(codec.encode(content)) for content in artifact.files.values())
    assert sizes[True] <= sizes[False] - 2 * 6  # a float16 for each that is gone


def test_a_network_runs_on_in_one_thread_while_another_is_traced() -> None:
    inside, go_on = threading.Event(), threading.Event()

    class Slow(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            half: torch.Tensor = self.first(x)
            inside.set()
            assert go_on.wait(60)
            answer: torch.Tensor = self.second(half)
            return answer

    found: list[str] = []
    tracing = threading.Thread(target=lambda: found.extend(str(node.target) for node in traced(Slow()).graph.nodes))
    tracing.start()
    try:
        assert inside.wait(60)
        network = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
        assert network(torch.ones(2, 3)).shape == (2, 3)
    finally:
        go_on.set()
        tracing.join()
    assert found == ["x", "first", "second", "output"]
