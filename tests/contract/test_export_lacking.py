"""An operator that a runtime lacks: every exporter names the layer as the torch module calls it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from littoral.errors import RuntimeFailure
from littoral.preparation import Input
from littoral_cloud.packaging.package import EXPORTERS

GIVEN = Input("input", (1, 6, 6), 1 / 255, (0.0,), (1.0,))
RUNTIMES = {
    "onnx": "onnxruntime",
    "onnx-int8": "onnxruntime",
    "onnx-int8-dynamic": "onnxruntime",
    "onnx-int8-full": "onnxruntime",
    "ncnn": "ncnn",
    "ncnn-fp16": "ncnn",
    "coreml": "coreml",
    "coreml-fp16": "coreml",
    "tensorrt-fp16": "onnxruntime",
    "tensorrt-int8": "onnxruntime",
}
FORMATS = {"onnxruntime": "onnx", "ncnn": "ncnn", "coreml": "coreml"}


class Squash(nn.Module):
    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


class Branching(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x


class Network(nn.Module):
    def __init__(self, middle: nn.Module, features: int = 72) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 2, 3, padding=1)
        self.middle = middle
        self.flat = nn.Flatten()
        self.classify = nn.Linear(features, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.classify(self.flat(self.middle(self.stem(x))))
        return result


def refused(variant: str, network: nn.Module) -> RuntimeFailure:
    calibration = np.zeros((4, 1, 6, 6), np.float32)
    with pytest.raises(RuntimeFailure) as caught:
        EXPORTERS[variant](network, GIVEN, calibration=calibration)
    return caught.value


def test_every_exporter_is_tried_here() -> None:
    assert set(RUNTIMES) == set(EXPORTERS)


@pytest.mark.slow
@pytest.mark.parametrize("variant", EXPORTERS)
def test_the_layer_is_named_and_the_way_out(variant: str) -> None:
    error = refused(variant, Network(Squash(torch.special.bessel_j0)))
    said = f"{FORMATS[RUNTIMES[variant]]}: layer 'middle' (Squash, which calls special_bessel_j0) cannot be exported: "
    assert error.message.startswith(said)
    assert "bessel_j0" in error.message.removeprefix(said)  # as the exporter calls it
    assert "\n" not in error.message
    assert f"another architecture for {RUNTIMES[variant]} nodes" in error.hint


@pytest.mark.slow
def test_what_torch_exports_and_onnxruntime_does_not_have_is_named_too() -> None:
    error = refused("onnx", Network(Squash(lambda x: torch.atan(x.double()).float())))
    assert error.message.startswith("onnx: layer 'middle' (Squash, which calls atan) cannot be exported: onnxruntime cannot load")
    assert "NOT_IMPLEMENTED" in error.message


def test_a_layer_of_torch_is_named_by_its_class_and_one_of_several_results_by_its_function() -> None:
    assert "layer 'middle' (Softsign)" in refused("ncnn", Network(nn.Softsign())).message
    error = refused("ncnn", Network(Squash(lambda x: x.sort(-1)[0])))
    assert "layer 'middle' (Squash, which calls sort)" in error.message


@pytest.mark.parametrize("variant", ["onnx", "ncnn"])
def test_a_network_that_does_not_run_names_where_it_stops(variant: str) -> None:
    assert "layer 'classify' (Linear)" in refused(variant, Network(nn.Identity(), features=7)).message


def test_a_network_that_branches_on_values_is_refused() -> None:
    error = refused("ncnn", Network(Branching()))
    assert "Network cannot be traced" in error.message
    assert "must not branch" in error.hint
