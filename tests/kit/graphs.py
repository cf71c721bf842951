"""Small ONNX graphs with data, each a kind of model that users bring, and what is odd about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.kit.foreign import made

Array = npt.NDArray[Any]
Case = tuple[onnx.ModelProto, dict[str, Array]]
_LOWEST = np.finfo(np.float32).min


def _normal(shape: tuple[int, ...], seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def _table(count: int, features: int) -> Array:
    return _normal((count, features), 7)


def _sure(x: Array, scores: Callable[[Array], Array]) -> tuple[Array, Array]:
    """The half of the examples that the model is surest of, and their classes: no rounding changes them."""
    two = np.sort(scores(x), axis=1)[:, -2:]
    kept = x[np.argsort(two[:, 0] - two[:, 1])[: len(x) // 2]]
    return kept, scores(kept).argmax(1)


def hidden_layer(*, constants: bool = False, cast: bool = False) -> Case:
    """A classifier of 8 classes with 9,216 weights in initializers, in Constant nodes, or cast from float16."""
    w, v = _normal((64, 128), 1), _normal((128, 8), 2)
    x, y = _sure(_table(400, 64), lambda x: np.maximum(x @ w, 0) @ v)
    names = ("w16", "v16") if cast else ("w", "v")
    kind = np.float16 if cast else np.float32
    held = [(name, array.astype(kind)) for name, array in zip(names, (w, v), strict=True)]
    nodes = [helper.make_node("Cast", [f"{n}16"], [n], to=TensorProto.FLOAT) for n in ("w", "v")] if cast else []
    if constants:
        nodes += [helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array)) for name, array in held]
    nodes += [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("MatMul", ["r", "v"], ["y"]),
    ]
    model = made(nodes, [("x", 1, ["n", 64])], [("y", 1, ["n", 8])], [] if constants else held)
    return model, {"x": x, "y": y}


def ten_classes(*known: int) -> Case:
    """A model of ten classes, and data that hold these alone."""
    w, x = _normal((64, 10)), _table(300, 64)
    y = (x @ w).argmax(1)
    some = np.isin(y, known)
    model = made([helper.make_node("MatMul", ["x", "w"], ["y"])], [("x", 1, ["n", 64])], [("y", 1, ["n", 10])], [("w", w)])
    return model, {"x": x[some], "y": y[some]}


def logarithm(floor: float) -> Case:
    """log(x @ w): not a number where that is negative; `floor` is added before."""
    w, x = _normal((16, 3)), _table(100, 16)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Add", ["m", "floor"], ["a"]),
        helper.make_node("Log", ["a"], ["y"]),
    ]
    model = made(nodes, [("x", 1, ["n", 16])], [("y", 1, ["n", 3])], [("w", w), ("floor", np.float32(floor))])
    return model, {"x": x, "y": (x @ w).argmax(1)}


def logarithm_of_chances() -> Case:
    """log(softmax(...)), of chances some of which are 0: minus infinity, rightly."""
    w, x = _normal((16, 3)) * np.float32(40), _table(100, 16)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Softmax", ["m"], ["p"], axis=1),
        helper.make_node("Log", ["p"], ["y"]),
    ]
    return made(nodes, [("x", 1, ["n", 16])], [("y", 1, ["n", 3])], [("w", w)]), {"x": x, "y": (x @ w).argmax(1)}


def masked() -> Case:
    """A mask of float's smallest value is added before a softmax, as attention does: it takes a range of int8 for itself."""
    s, w, x = _normal((256, 8), 3) / 16, _normal((8, 8), 4), _table(200, 256)
    mask = np.where(np.arange(8) == 1, _LOWEST, np.float32(0))
    scores = np.exp(x @ s) * (np.arange(8) != 1)
    y = ((scores / scores.sum(1, keepdims=True)) @ w).argmax(1)
    nodes = [
        helper.make_node("MatMul", ["x", "s"], ["m"]),
        helper.make_node("Add", ["m", "mask"], ["a"]),
        helper.make_node("Softmax", ["a"], ["p"], axis=1),
        helper.make_node("MatMul", ["p", "w"], ["y"]),
    ]
    constants = [("s", s), ("mask", mask), ("w", w)]
    return made(nodes, [("x", 1, ["n", 256])], [("y", 1, ["n", 8])], constants), {"x": x, "y": y}


def column_in_millions() -> Case:
    """One column of the input is in millions and weighs next to nothing: int8 of the input hides all others."""
    w, x = _normal((256, 8), 5), _table(200, 256)
    w[0], x[:, 0] = 1e-9, 1e6 * (1 + x[:, 0])
    model = made([helper.make_node("MatMul", ["x", "w"], ["y"])], [("x", 1, ["n", 256])], [("y", 1, ["n", 8])], [("w", w)])
    return model, {"x": x, "y": (x @ w).argmax(1)}


def tokens() -> Case:
    """Words by number, of a vocabulary of 20, in texts of any length."""
    ids = np.random.default_rng(0).integers(0, 20, (100, 7))
    table, w = _normal((20, 6), 1), _normal((6, 4), 2)
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["e"]),
        helper.make_node("ReduceMean", ["e", "axes"], ["p"], keepdims=0),
        helper.make_node("MatMul", ["p", "w"], ["y"]),
    ]
    constants = [("table", table), ("axes", np.int64([1])), ("w", w)]
    model = made(nodes, [("ids", TensorProto.INT64, ["n", "length"])], [("y", 1, ["n", 4])], constants)
    return model, {"x": ids, "y": (table[ids].mean(1) @ w).argmax(1)}


def from_scikit_learn(classes: list[str] | list[int], *, zipmap: bool) -> Case:
    """A linear classifier as scikit-learn's converter writes it: the class as a label, and chances as a tensor or as maps."""
    count = len(classes)
    w, x = _normal((count, 4), 1), _table(90, 4)
    y = (x @ w.T).argmax(1)
    key = "classlabels_strings" if isinstance(classes[0], str) else "classlabels_ints"
    scores = helper.make_node(
        *("LinearClassifier", ["x"], ["label", "chances"]),
        domain="ai.onnx.ml",
        coefficients=w.ravel().tolist(),
        intercepts=[0.0] * count,
        post_transform="SOFTMAX",
        **{key: classes},
    )
    texts = isinstance(classes[0], str)
    nodes = [scores]
    outputs = [helper.make_tensor_value_info("label", TensorProto.STRING if texts else TensorProto.INT64, ["n"])]
    if zipmap:
        named = {"classlabels_strings": classes} if texts else {"classlabels_int64s": classes}
        nodes.append(helper.make_node("ZipMap", ["chances"], ["maps"], domain="ai.onnx.ml", **named))
        tensor = helper.make_tensor_type_proto(TensorProto.FLOAT, [])
        mapped = helper.make_map_type_proto(TensorProto.STRING if texts else TensorProto.INT64, tensor)
        outputs.append(helper.make_value_info("maps", helper.make_sequence_type_proto(mapped)))
    else:
        outputs.append(helper.make_tensor_value_info("chances", TensorProto.FLOAT, ["n", count]))
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])], outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("ai.onnx.ml", 1)], ir_version=9)
    return model, {"x": x, "y": np.array(classes)[y]}


def with_weights_as_inputs() -> Case:
    """As files of IR 3 must: every initializer is an input too, and comes first."""
    model, data = hidden_layer()
    inputs = [helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in model.graph.initializer]
    inputs += list(model.graph.input)
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    model.ir_version = 3
    return model, data
