"""Teachers from outside, as a user would bring them: ONNX graphs, and functions of raw images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from littoral_cloud.data.dataset import Images
from littoral_cloud.training.schedule import Logits

BARS = (1, 12, 12)


def linear_onnx(
    weights: npt.NDArray[np.float32] | None = None,
    *,
    shape: Sequence[int | str] = ("batch", *BARS),
    classes: int = 3,
    kind: int = TensorProto.FLOAT,
    softmax: bool = False,
) -> onnx.ModelProto:
    """Flatten, one matrix, perhaps a softmax. Opset 18, IR 9."""
    pixels = int(np.prod([d for d in shape[1:] if isinstance(d, int)]))
    if weights is None:
        weights = np.random.default_rng(0).normal(size=(pixels, classes)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["images"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["numbers"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["logits" if not softmax else "before"]),
    ]
    if softmax:
        nodes.append(helper.make_node("Softmax", ["before"], ["logits"], axis=1))
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("images", kind, list(shape))],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [shape[0], classes])],
        [numpy_helper.from_array(weights, "weights")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def by_rows(images: Images) -> Logits:
    """Tells bars apart by their brightest row and column: a teacher that was never trained."""
    x = images[:, 0].astype(np.float32)
    rows, columns = x.mean(2).max(1) / 25, x.mean(1).max(1) / 25
    return np.stack([rows, columns, np.full_like(rows, 5.0)], axis=1)


def as_tensor(images: Images) -> torch.Tensor:
    return torch.from_numpy(by_rows(images)).double().requires_grad_()


def as_probabilities(images: Images) -> Any:
    return torch.from_numpy(by_rows(images)).softmax(1)


def too_few_classes(images: Images) -> Logits:
    return by_rows(images)[:, :2]


def as_network(_: Images) -> nn.Module:
    return nn.Linear(2, 2)


def as_words(images: Images) -> list[list[str]]:
    return [["lying"]] * len(images)


def with_a_hole(images: Images) -> Logits:
    return np.where(by_rows(images) > 1, np.nan, by_rows(images)).astype(np.float32)


def that_raises(_: Images) -> Logits:
    raise RuntimeError("no such weights")


def that_ends_the_process(_: Images) -> Logits:
    raise SystemExit(0)


_NORM = nn.BatchNorm1d(3)


def left_in_training_mode(images: Images) -> torch.Tensor:
    answers: torch.Tensor = _NORM(torch.from_numpy(by_rows(images)))
    return answers


CALLS: list[int] = []


def that_counts(images: Images) -> Logits:
    """As by_rows; CALLS says how many images it was shown each time."""
    CALLS.append(len(images))
    return by_rows(images)


class Holder:
    """A function may lie in a class."""

    answer = staticmethod(by_rows)


NOT_CALLABLE = 3


def upside_down(images: Images) -> Logits:
    """Always wrong."""
    return -by_rows(images)
