"""Makes a dictionary for littoral.codec: graphs of our architectures as the exporters write them, with weights drawn at random.

    python tools/codec_dictionary.py 1 > littoral/codec/graphs-1.bin

A released dictionary never changes; a new one gets the next number in littoral/codec/dictionary.py, with its digest, for another
version of torch's exporter writes other bytes. A node reads all of a dictionary before it decodes a file, so each row of biases,
which are noise, is cut to a few.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from littoral.architectures import build
from littoral.architectures.folded import folded
from littoral.codec.encoding import text_of
from littoral.codec.find import arrays_in
from littoral.preparation import Input
from littoral_cloud.compression.kmeans import Floats, binary, k_means
from littoral_cloud.export.exported import Exported
from littoral_cloud.export.onnx import FILE, export
from littoral_cloud.training.seeding import seeded


@dataclass(frozen=True, slots=True)
class Draw:
    """The graphs of a dictionary. The model remembers the last ones best."""

    families: tuple[str, ...]
    seed: int = 1
    biases: int = 2  # that stay of each row


DRAWS: Mapping[int, Draw] = {
    1: Draw(("mobilenet_v1", "mobilenet_v1")),
    2: Draw(("lenet5", "compact_cnn")),
    3: Draw(("recurrent_cnn", "recurrent_cnn")),
    4: Draw(("pruned_chain",) * 5, seed=12, biases=6),
}
"""By number of the dictionary. Of seventeen seeds for 4, this one makes the artifacts of bench/search smallest."""
_SHARED = ("pruned_chain",)  # families with weights as after saliency pruning and weight sharing
_WEIGHTS = 1  # seed of the first weights, which drawn ones replace


def drawn(family: str, rng: np.random.Generator) -> Mapping[str, Any]:
    """A spec of this architecture with some thousand parameters."""
    if family == "lenet5":
        return {
            "name": family,
            "maps": [int(n) for n in rng.integers(8, 24, 2)],
            "hidden": int(rng.integers(16, 80)),
        }
    if family == "recurrent_cnn":
        steps = [1] * int(rng.integers(1, 4))
        return {"name": family, "maps": int(rng.integers(8, 40)), "strides": [2, *steps, 2]}
    if family == "pruned_chain":
        narrow = sorted(int(width) for width in rng.integers(5, 48, 4))
        return {"name": "compact_cnn", "widths": narrow, "strides": [2, 2, 1, 2], "stem": 5, "head": "map"}
    widths = sorted(int(width) for width in rng.integers(16, 64, 4))
    strides = [2, *(1 for _ in widths[1:])]
    if family == "compact_cnn":
        return {"name": family, "widths": widths, "strides": strides, "stem": 5}
    between = "relu" if rng.random() < 0.5 else "nothing"
    return {"name": family, "stem": 16, "stem_kernel": 5, "widths": widths, "strides": strides, "between": between}


def graph(family: str, rng: np.random.Generator) -> Exported:
    """An artifact for 28x28 pixels and ten classes, with folded norms and drawn weights and biases."""
    spec = drawn(family, rng)
    values = _shared if family in _SHARED else _steps
    with seeded(_WEIGHTS):
        network = folded(build(spec, channels=1, height=28, width=28, classes=10).eval())
    with torch.no_grad():
        for parameter in network.parameters():
            drawn_values = values(tuple(parameter.shape), rng)
            parameter.copy_(torch.from_numpy(drawn_values.reshape(parameter.shape)).float())
    given = Input("input", (1, 28, 28), 1 / 255, (0.1307,), (0.3081,))
    return export(network, given, calibration=np.zeros((1, 1, 28, 28), np.float32))


def _steps(shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Values on a few equal steps, more often the middle ones."""
    most, step = (3, rng.integers(8, 16) / 128) if len(shape) > 1 else (15, 1 / 16)
    codes: Floats = (rng.binomial(2 * most, 0.5, shape) - most).astype(np.float64)
    return codes * step


def _shared(shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """A third to a twelfth of the weights is not 0, none near 0, of 16 values with 4 digits; biases on 31 steps."""
    count, inputs = math.prod(shape), math.prod(shape[1:])
    drawn = rng.choice([-1.0, 1.0], count) * (0.3 + rng.exponential(1.0, count)) / math.sqrt(inputs)
    if len(shape) == 1:
        steps = binary(drawn, 5)
        return steps.values[steps.assign(drawn)]
    levels = k_means(drawn, 16)
    there = rng.random(count) < rng.uniform(1 / 12, 1 / 3)
    shown: Floats = np.where(there, levels.rounded(4)[levels.assign(drawn)], 0.0)
    return shown


def _text(file: bytes, biases: int) -> bytes:
    """The plan of a file and all that is no array, with this many biases of each row."""
    text = text_of(file)
    for found in arrays_in(file):
        row = file[found.offset : found.offset + found.size]
        if len(found.shape) == 1:
            text = text.replace(row, row[: 4 * biases], 1)
    return text


def dictionary(number: int) -> bytes:
    """The texts of its graphs, one after another."""
    plan = DRAWS[number]
    rng = np.random.default_rng([plan.seed, number])
    return b"".join(_text(graph(family, rng).files[FILE], plan.biases) for family in plan.families)


if __name__ == "__main__":
    sys.stdout.buffer.write(dictionary(int(sys.argv[1])))
