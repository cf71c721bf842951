"""Makes a dictionary for littoral.codec: graphs of our architectures as the exporters write them, with weights drawn by chance.

    python -m cloud.export.graphs 1 > littoral/codec/graphs-1.bin

A dictionary that was released never changes; another one gets the next number in littoral/codec/dictionary.py. What torch's
exporter writes differs a little from version to version, so its digest is kept there, and not made again. A node reads all of a
dictionary before it decodes a file, so that of each row of biases, which are noise, two are left.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from cloud.export.exported import Exported
from cloud.export.onnx import FILE, export
from cloud.factory.chance import seeded
from littoral.architectures import build
from littoral.architectures.folded import folded
from littoral.codec.encoding import text_of
from littoral.codec.find import arrays_in
from littoral.manifest import Input

SEED = 1
FAMILIES: Mapping[int, tuple[str, ...]] = {
    1: ("mobilenet_v1", "mobilenet_v1"),
    2: ("lenet5", "compact_cnn"),
    3: ("recurrent_cnn", "recurrent_cnn"),
}
"""By the dictionary's number. What was read last is remembered best."""


def drawn(family: str, chance: np.random.Generator) -> Mapping[str, Any]:
    """A net of this architecture, some thousand parameters."""
    if family == "lenet5":
        return {"name": family, "maps": [int(n) for n in chance.integers(8, 24, 2)], "hidden": int(chance.integers(16, 80))}
    if family == "recurrent_cnn":
        steps = [1] * int(chance.integers(1, 4))
        return {"name": family, "maps": int(chance.integers(8, 40)), "strides": [2, *steps, 2]}
    widths = sorted(int(width) for width in chance.integers(16, 64, 4))
    strides = [2, *(1 for _ in widths[1:])]
    if family == "compact_cnn":
        return {"name": family, "widths": widths, "strides": strides, "stem": 5}
    between = "relu" if chance.random() < 0.5 else "nothing"
    return {"name": family, "stem": 16, "stem_kernel": 5, "widths": widths, "strides": strides, "between": between}


def graph(spec: Mapping[str, Any], chance: np.random.Generator) -> Exported:
    """Its artifact for 28x28 pixels and ten classes: norms folded, weights and biases drawn evenly from a few values."""
    with seeded(SEED):
        network = folded(build(spec, channels=1, height=28, width=28, classes=10).eval())
    with torch.no_grad():
        for parameter in network.parameters():
            most, step = (3, chance.integers(8, 16) / 128) if parameter.ndim > 1 else (15, 1 / 16)
            values = chance.binomial(2 * most, 0.5, parameter.shape) - most
            parameter.copy_(torch.from_numpy(values * step).float())
    given = Input("input", (1, 28, 28), 1 / 255, (0.1307,), (0.3081,))
    return export(network, given, calibration=np.zeros((1, 1, 28, 28), np.float32))


def _text(file: bytes) -> bytes:
    """Its plan, and what is no array, with two biases of each row."""
    text = text_of(file)
    for found in arrays_in(file):
        row = file[found.offset : found.offset + found.size]
        if len(found.shape) == 1:
            text = text.replace(row, row[:8], 1)
    return text


def dictionary(number: int) -> bytes:
    """Its texts, one after another."""
    chance = np.random.default_rng([SEED, number])
    return b"".join(_text(graph(drawn(family, chance), chance).files[FILE]) for family in FAMILIES[number])


if __name__ == "__main__":
    sys.stdout.buffer.write(dictionary(int(sys.argv[1])))
