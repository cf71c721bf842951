from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from torch import nn

from littoral.architectures import REGISTRY, build, small_spec
from littoral.architectures.layers import shrunk
from littoral.errors import BadInput
from littoral_cloud.recipes.recipe import DEMO

SIZES = [(1, 28, 28), (1, 8, 8), (3, 17, 23), (1, 7, 5), (2, 3, 40), (3, 224, 224)]


@pytest.mark.parametrize("name", REGISTRY)
@pytest.mark.parametrize("size", SIZES)
def test_every_architecture_takes_every_size_and_names_its_layers(name: str, size: tuple[int, int, int]) -> None:
    channels, height, width = size
    # What the papers' own nets calculate of a large image takes seconds: there the shapes alone.
    with torch.device("meta" if height > 100 else "cpu"), torch.inference_mode():
        large = build({"name": name}, channels=channels, height=height, width=width, classes=4).eval()
        assert large(torch.zeros(2, *size)).shape == (2, 4)
    small = build(small_spec(name), channels=channels, height=height, width=width, classes=3).eval()
    with torch.inference_mode():
        answer = small(torch.zeros(2, *size))
    assert answer.shape == (2, 3)
    assert torch.isfinite(answer).all()
    parts = [part for network in (large, small) for path, _ in network.named_modules() for part in path.split(".") if path]
    assert not any(part.isdigit() for part in parts), "pnnx cannot name such layers"


@pytest.mark.parametrize("name", REGISTRY)
@pytest.mark.parametrize("small", [True, False])
def test_no_architecture_has_the_layer_that_corrupts_torchs_heap(name: str, small: bool) -> None:
    with torch.device("meta"):
        network = build(small_spec(name) if small else {"name": name}, channels=3, height=64, width=64, classes=4)
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    assert not [layer for layer in convolutions if layer.kernel_size == (1, 1) and layer.stride != (1, 1)]


@pytest.mark.parametrize("name", REGISTRY)
def test_a_small_spec_is_as_json_has_it_and_nobody_elses(name: str) -> None:
    spec = small_spec(name)
    assert json.loads(json.dumps(spec)) == spec
    spec["name"] = "other"
    assert small_spec(name)["name"] == name


def test_the_demos_mobile_student_is_what_it_was() -> None:
    """The layers that `mobilenet` had before mobilenet_v1 took its place, and so the same weights for the same seed."""
    student = next(student for student in DEMO.students if student.name == "mobile")
    with torch.device("meta"):
        network = build(student.architecture, channels=1, height=28, width=28, classes=10)
    assert [(n, tuple(p.shape)) for n, p in network.named_parameters() if p.dim() > 1] == [
        ("stem.conv.weight", (16, 1, 5, 5)),
        ("blocks.block1.depthwise.weight", (16, 1, 3, 3)),
        ("blocks.block1.pointwise.weight", (32, 16, 1, 1)),
        ("blocks.block2.depthwise.weight", (32, 1, 3, 3)),
        ("blocks.block2.pointwise.weight", (64, 32, 1, 1)),
        ("blocks.block3.depthwise.weight", (64, 1, 3, 3)),
        ("blocks.block3.pointwise.weight", (64, 64, 1, 1)),
        ("classify.weight", (10, 64)),
    ]
    strides = [layer.stride[0] for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    assert strides == [2, 2, 1, 2, 1, 1, 1]


def test_a_resolution_shrinks_what_the_network_sees() -> None:
    x = torch.arange(2 * 12 * 20, dtype=torch.float32).reshape(1, 2, 12, 20)
    assert shrunk(12, 20, 1.0)(x) is x
    half = shrunk(12, 20, 0.5)(x)
    assert half.shape == (1, 2, 6, 10)
    assert torch.allclose(half, nn.functional.avg_pool2d(x, 2)), "half is the mean of two by two"
    assert shrunk(12, 20, 0.7)(x).shape == (1, 2, 8, 14)
    assert shrunk(12, 20, 0.15)(x).shape == (1, 2, 2, 3)
    flat = torch.full((1, 1, 33, 17), 3.0)
    for resolution in (0.01, 0.2, 0.43, 0.9):
        assert torch.allclose(shrunk(33, 17, resolution)(flat), torch.tensor(3.0)), "edges weigh no less than the middle"


@pytest.mark.parametrize("name", REGISTRY)
def test_every_architecture_says_whose_paper_it_is(name: str) -> None:
    module = __import__(REGISTRY[name], fromlist=["build"])
    assert "https://" in module.__doc__


def test_the_registry_is_read_without_torch() -> None:
    code = "import sys, littoral.architectures; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({}, "architecture.name: None is not known"),
        ({"name": "resnet"}, "'resnet' is not known"),
        ({"name": ["compact_cnn"]}, "is not known"),
        ({"name": "compact_cnn", "depth": 3}, "architecture.depth: compact_cnn has no such parameter"),
        ({"name": "compact_cnn", "classes": 3}, "architecture.classes"),
        ({"name": "compact_cnn", "widths": []}, "architecture.widths"),
        ({"name": "compact_cnn", "widths": [8, -1]}, "architecture.widths: -1"),
        ({"name": "compact_cnn", "widths": [10**9]}, "architecture.widths: 1000000000"),
        ({"name": "compact_cnn", "stem": 4}, "architecture.stem: 4 must be odd"),
        ({"name": "compact_cnn", "head": "tail"}, "architecture.head"),
        ({"name": "perceptron", "widths": [1, 2, 3]}, "architecture.widths"),
        ({"name": "mobilenet_v1", "strides": [1]}, "architecture.strides"),
        ({"name": "mobilenet_v1", "multiplier": "wide"}, "architecture.multiplier"),
        ({"name": "mobilenet_v1", "resolution": 1.5}, "architecture.resolution: 1.5"),
        ({"name": "mobilenet_v1", "resolution": 0}, "architecture.resolution: 0"),
        ({"name": "mobilenet_v1", "stem_kernel": 1}, "architecture.stem_kernel: 1"),
        ({"name": "mobilenet_v2", "blocks": []}, "architecture.blocks: []"),
        ({"name": "mobilenet_v2", "blocks": [[1, 8, 1]]}, "architecture.blocks: [1, 8, 1]"),
        ({"name": "mobilenet_v2", "blocks": [[1, 8, 1, 3]]}, "architecture.blocks: 3"),
        ({"name": "shufflenet_v1", "groups": 5}, "architecture.groups"),
        (
            {"name": "shufflenet_v1", "groups": 2, "widths": [20], "depths": [1]},
            "architecture.widths: [20] must be multiples of 8",
        ),
        ({"name": "shufflenet_v1", "groups": 2, "widths": [24], "depths": [1]}, "architecture.widths: [24, 24] after the stem"),
        ({"name": "shufflenet_v1", "depths": [1]}, "architecture.depths"),
        ({"name": "shufflenet_v2", "multiplier": 0.7}, "architecture.multiplier: 0.7"),
        ({"name": "shufflenet_v2", "widths": [31], "depths": [1]}, "architecture.widths: [31] must be even"),
        ({"name": "shufflenet_v2", "stem_pool": 1}, "architecture.stem_pool: 1 must be true or false"),
        ({"name": "squeezenet", "ratio": True}, "architecture.ratio"),
        ({"name": "squeezenet", "pools": [10]}, "architecture.pools: 10"),
        ({"name": "squeezenet", "dropout": 1.0}, "architecture.dropout: 1.0"),
        ({"name": "residual", "depths": [2, 2]}, "architecture.depths: [2, 2]"),
        ({"name": "residual", "stem_stride": 3}, "architecture.stem_stride: 3"),
        ({"name": "perceptron", "activation": "step"}, "architecture.activation: 'step'"),
        ({"name": "depthwise_1d", "kernels": [13]}, "architecture.kernels: [13] must hold one for each of 3 widths"),
        ({"name": "depthwise_1d", "kernels": [13, 14, 15]}, "architecture.kernels: 14 must be odd"),
        ({"name": "depthwise_1d", "stem_kernel": 1}, "architecture.stem_kernel: 1"),
        ({"name": "lenet_300_100", "hidden": [300]}, "architecture.hidden"),
        ({"name": "lenet5", "maps": [20]}, "architecture.maps"),
        ({"name": "lenet5", "padding": 3}, "architecture.padding: 3"),
        ({"name": "lenet5", "padding": 0}, "height: 8 is too small for lenet5 with padding 0"),
    ],
)
def test_a_spec_that_cannot_be_built_names_its_field(spec: dict[str, object], words: str) -> None:
    with pytest.raises(BadInput, match=words.replace("[", r"\[")):
        build(spec, channels=1, height=8, width=8, classes=2)


@pytest.mark.parametrize("field", ["channels", "height", "width", "classes"])
@pytest.mark.parametrize("value", [0, -1, 2.0, None])
def test_an_input_that_is_none_names_its_field(field: str, value: object) -> None:
    given: dict[str, object] = {"channels": 1, "height": 8, "width": 8, "classes": 2} | {field: value}
    with pytest.raises(BadInput, match=f"{field}: {value} must be a whole number"):
        build({"name": "compact_cnn"}, **given)  # type: ignore[arg-type]


def test_what_leaves_nothing_of_an_image_is_refused() -> None:
    with pytest.raises(BadInput, match="width: 2 is too small for squeezenet"):
        build({"name": "squeezenet"}, channels=1, height=9, width=2, classes=2)
    with pytest.raises(BadInput, match="is not known"):
        small_spec("resnet")
