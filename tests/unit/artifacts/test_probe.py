"""A model with a signature against its probe: what it must answer, and by how much another processor may be off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest

from littoral.manifest import FOREIGN_SCHEMA, Manifest, Output
from littoral.probe import NO_PROBE
from littoral.signature import Packed, Signature, TensorProbe
from littoral.tensor_spec import TensorSpec
from littoral_node.artifacts.probe import ProbeMismatch, check_probe, one_inference
from tests.kit.models import artifact

X = np.arange(100, dtype=np.float32).reshape(50, 2)
Y = np.where(X % 10 == 0, -np.inf, X).astype(np.float32)
Z = (X[:, 0] > 50).astype(np.int64)


class Answering:
    """Gives these tensors, whatever it is asked, and remembers what that was."""

    def __init__(self, **tensors: np.ndarray) -> None:
        self.tensors = tensors
        self.asked: Mapping[str, np.ndarray] = {}

    def infer(self, x: np.ndarray) -> np.ndarray:
        raise AssertionError("it has a signature")

    def run(self, feeds: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        self.asked = feeds
        return self.tensors

    def close(self) -> None:
        pass


@cache
def ours() -> Manifest:
    with TemporaryDirectory() as folder:
        return artifact(Path(folder))


def manifest(*, batch: int = -1, **more: np.ndarray) -> Manifest:
    specs = (TensorSpec("x", "FP32", (batch, 2)), *(TensorSpec(name, "FP32", array.shape) for name, array in more.items()))
    inputs = {"x": Packed.of(X), **{name: Packed.of(array) for name, array in more.items()}}
    probe = TensorProbe(inputs, {"y": Packed.of(Y), "z": Packed.of(Z)}, {"y": 0.5, "z": 0.02})
    signature = Signature(specs, (TensorSpec("y", "FP32", (-1, 2)), TensorSpec("z", "INT64", (-1,))), probe)
    return replace(ours(), signature=signature, schema=FOREIGN_SCHEMA, probe=NO_PROBE, task="custom", output=Output("y", ()))


def with_values(array: np.ndarray, places: list[int], value: Any) -> np.ndarray:
    changed = array.copy()
    changed.reshape(-1)[places] = value
    return changed


@pytest.mark.parametrize(
    ("y", "z"),
    [
        (Y, Z),
        (Y + np.float32(0.4), Z),
        (with_values(Y, [1, 3], -np.inf), Z),  # 2 of 100 underflow here
        (with_values(Y, [0], -87.0), Z),  # and one did there
        (Y, with_values(Z, [0], 7)),
    ],
    ids=["the same", "a little off", "infinite here", "infinite there", "one whole number"],
)
def test_what_another_processor_may_answer(y: np.ndarray, z: np.ndarray) -> None:
    check_probe(Answering(y=y, z=z), manifest())


@pytest.mark.parametrize(
    ("y", "z", "said"),
    [
        (Y + np.float32(0.6), Z, "y is off by 0.6"),
        (with_values(Y, [1], np.nan), Z, "answers y with values that are not numbers"),
        (with_values(Y, [1, 3, 5], -np.inf), Z, "3.00% of y are infinite at other places"),
        (np.abs(Y), Z, "of y are infinite at other places"),
        (Y, with_values(Z, [0, 1], 7), "4.00% of z differ"),
        (Y[:49], Z, r"y has shape \(49, 2\), wanted \(50, 2\)"),
        (Y.astype(np.float64), Z, "answers y with float64"),
        (Y, Z[:, None], "answers z with int64"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_what_it_may_not(y: np.ndarray, z: np.ndarray, said: str) -> None:
    with pytest.raises(ProbeMismatch, match=said):
        check_probe(Answering(y=y, z=z), manifest())


def test_an_inference_is_of_one_example_where_every_input_has_a_batch() -> None:
    model = Answering(y=Y, z=Z)
    for given, asked in (
        (manifest(), {"x": (1, 2)}),
        (manifest(batch=50), {"x": (50, 2)}),
        (manifest(rate=np.float32(16_000)), {"x": (50, 2), "rate": ()}),
    ):
        one_inference(given)(model)
        assert {name: array.shape for name, array in model.asked.items()} == asked
        assert all(array.flags.c_contiguous for array in model.asked.values())
