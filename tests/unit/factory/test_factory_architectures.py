from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from littoral.architectures import REGISTRY, build
from littoral.errors import BadInput


@pytest.mark.parametrize("name", REGISTRY)
@pytest.mark.parametrize("size", [(1, 28, 28), (3, 20, 33), (1, 7, 5)])
def test_every_architecture_takes_every_size_and_names_its_layers(name: str, size: tuple[int, int, int]) -> None:
    channels, height, width = size
    network = build({"name": name}, channels=channels, height=height, width=width, classes=4).eval()
    assert network(torch.zeros(2, *size)).shape == (2, 4)
    parts = [part for path, _ in network.named_modules() for part in path.split(".") if path]
    assert not any(part.isdigit() for part in parts), "pnnx cannot name such layers"


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
        ({"name": "squeezenet", "ratio": True}, "architecture.ratio"),
    ],
)
def test_a_spec_that_cannot_be_built_names_its_field(spec: dict[str, object], words: str) -> None:
    with pytest.raises(BadInput, match=words.replace("[", r"\[")):
        build(spec, channels=1, height=8, width=8, classes=2)
