"""Models as others would bring them: several inputs, other number types, a fixed batch, things that want too much."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = npt.NDArray[Any]


def made(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[tuple[str, int, Sequence[int | str]]],
    outputs: Sequence[tuple[str, int, Sequence[int | str]]],
    constants: Sequence[tuple[str, Array]] = (),
    *,
    domains: Sequence[str] = (),
) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "foreign",
        [helper.make_tensor_value_info(name, kind, list(shape)) for name, kind, shape in inputs],
        [helper.make_tensor_value_info(name, kind, list(shape)) for name, kind, shape in outputs],
        [numpy_helper.from_array(array, name) for name, array in constants],
    )
    opsets = [helper.make_opsetid("", 18), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def house_prices(batch: int | str = "n") -> onnx.ModelProto:
    """Two inputs of other types, two outputs: price = area @ [3, 2] + 10 * rooms; `cheap` where it is under 20."""
    return made(
        [
            helper.make_node("MatMul", ["area", "w"], ["by_area"]),
            helper.make_node("Cast", ["rooms"], ["many"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["many", "ten"], ["by_rooms"]),
            helper.make_node("Add", ["by_area", "by_rooms"], ["price"]),
            helper.make_node("Less", ["price", "twenty"], ["cheap"]),
        ],
        [("area", TensorProto.FLOAT, [batch, 2]), ("rooms", TensorProto.INT64, [batch, 1])],
        [("price", TensorProto.FLOAT, [batch, 1]), ("cheap", TensorProto.BOOL, [batch, 1])],
        [("w", np.float32([[3], [2]])), ("ten", np.float32(10)), ("twenty", np.float32(20))],
    )


def houses(count: int = 40, seed: int = 0, *, noise: float = 0.5) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    area, rooms = rng.uniform(0, 4, (count, 2)).astype(np.float32), rng.integers(0, 4, (count, 1))
    price = area @ np.float32([[3], [2]]) + 10 * rooms + rng.normal(size=(count, 1)) * noise
    return {"area": area, "rooms": rooms, "y": price[:, 0]}


def peaks() -> onnx.ModelProto:
    """A detector: where one signal of any length is over 0.5; as many answers as there are peaks, and no batch."""
    return made(
        [
            helper.make_node("Greater", ["signal", "half"], ["over"]),
            helper.make_node("NonZero", ["over"], ["places"]),
            helper.make_node("Transpose", ["places"], ["found"]),
        ],
        [("signal", TensorProto.FLOAT, ["length"])],
        [("found", TensorProto.INT64, ["many", 1])],
        [("half", np.float32(0.5))],
    )


def tokens(words: int = 20) -> onnx.ModelProto:
    """The mean of what a table of so many words holds of each id; an id that is not in it is an invalid argument."""
    table = np.arange(words * 4, dtype=np.float32).reshape(words, 4)
    return made(
        [
            helper.make_node("Gather", ["table", "ids"], ["rows"]),
            helper.make_node("ReduceMean", ["rows", "one"], ["y"], keepdims=0),
        ],
        [("ids", TensorProto.INT64, ["n", "length"])],
        [("y", TensorProto.FLOAT, ["n", 4])],
        [("table", table), ("one", np.int64([1]))],
    )


def logarithms() -> onnx.ModelProto:
    """The logarithm of what it is given: minus infinity of 0, which is right, and not a number of what is less."""
    return made(
        [helper.make_node("Log", ["x"], ["y"])],
        [("x", TensorProto.FLOAT, ["n", "any"])],
        [("y", TensorProto.FLOAT, ["n", "any"])],
    )


def greedy(values: int) -> onnx.ModelProto:
    """Allocates as many floats when it is run."""
    return made(
        [
            helper.make_node("Shape", ["x"], ["ones"]),
            helper.make_node("Mul", ["ones", "many"], ["shape"]),
            helper.make_node("ConstantOfShape", ["shape"], ["y"], value=numpy_helper.from_array(np.float32([1]))),
        ],
        [("x", TensorProto.FLOAT, [1])],
        [("y", TensorProto.FLOAT, ["all"])],
        [("many", np.int64([values]))],
    )


def endless() -> onnx.ModelProto:
    """Counts to 2**62."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go_on"], ["again"]), helper.make_node("Add", ["sum", "sum"], ["more"])],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum", TensorProto.FLOAT, [1]),
        ],
        [
            helper.make_tensor_value_info("again", TensorProto.BOOL, []),
            helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]),
        ],
    )
    return made(
        [helper.make_node("Loop", ["turns", "true", "x"], ["y"], body=body)],
        [("x", TensorProto.FLOAT, [1])],
        [("y", TensorProto.FLOAT, [1])],
        [("turns", np.int64(2**62)), ("true", np.bool_(True))],
    )


def write(path: Path, model: onnx.ModelProto) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


# Metrics as an operator would write them.


def peaks_found(answers: dict[str, Any], targets: dict[str, Array]) -> float:
    """The fraction of signals whose number of peaks is right."""
    right = [len(found) == wanted for found, wanted in zip(answers["found"], targets["y"], strict=True)]
    return float(np.mean(right))


def off_by(answers: dict[str, Any], targets: dict[str, Array]) -> float:
    return float(np.abs(answers["price"][:, 0] - targets["y"]).max())


off_by.higher_is_better = False  # type: ignore[attr-defined]


def that_raises(_answers: object, _targets: object) -> float:
    raise KeyError("boxes")


def that_gives_words(_answers: object, _targets: object) -> str:
    return "rather good"


def that_gives_nan(_answers: object, _targets: object) -> float:
    return float("nan")
