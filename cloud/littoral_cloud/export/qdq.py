"""Writes a network that was trained for int8 as a graph of integers, with the steps of littoral/architectures/quantized.py.

QuantizeLinear and DequantizeLinear are where the network rounded its values; weights are int8 and biases int32, each with a
DequantizeLinear that runtimes fuse with the layer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from littoral.architectures.quantized import WEIGHT_STEPS, Quantizer

_LAYERS = ("Conv", "Gemm")
_MOVES = ("MaxPool", "Reshape", "Flatten", "Transpose", "Relu")
_LEAST = 2.0**-24


class Rounded(nn.Module):
    """A Quantizer as its two ONNX operators; it can be exported, and not run."""

    scale: torch.Tensor
    zero: torch.Tensor

    def __init__(self, quantizer: Quantizer) -> None:
        super().__init__()
        scale, zero = quantizer.steps()
        self.register_buffer("scale", scale.detach().clone())
        self.register_buffer("zero", zero.detach().to(torch.uint8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        steps = [self.scale, self.zero]
        codes = torch.onnx.ops.symbolic("QuantizeLinear", [x, *steps], dtype=torch.uint8, shape=x.shape)
        return torch.onnx.ops.symbolic("DequantizeLinear", [codes, *steps], dtype=torch.float32, shape=x.shape)


def with_integer_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Writes the weights of convolutions and linear layers, which are on their grid, as int8, and biases as int32 in steps of the
    layer's products. A DequantizeLinear is directly before each layer, where runtimes fuse it; maxima and reshapes between move
    codes as they move values. Changes the graph."""
    graph = model.graph
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    made_by = {node.output[0]: node for node in graph.node}
    after: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type in _LAYERS and node.input[1] in arrays:
            _quantize(node, arrays, made_by, after)
        after.append(node)
    del graph.node[:]
    graph.node.extend(after)
    del graph.initializer[:]
    graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in arrays.items())
    del graph.value_info[:]
    return model


def _quantize(
    node: onnx.NodeProto, arrays: dict[str, np.ndarray[Any, Any]], made_by: dict[str, onnx.NodeProto], into: list[onnx.NodeProto]
) -> None:
    axis = 0 if node.op_type == "Conv" or _transposed(node) else 1
    weight = arrays.pop(node.input[1])
    rest = tuple(a for a in range(weight.ndim) if a != axis)
    scale = np.maximum(np.abs(weight).max(axis=rest) / np.float32(WEIGHT_STEPS), np.float32(_LEAST)).astype(np.float32)
    wide = [1] * weight.ndim
    wide[axis] = -1
    name = node.input[1]
    arrays[f"{name}.codes"] = np.round(weight / scale.reshape(wide)).astype(np.int8)
    arrays[f"{name}.scale"] = scale
    arrays[f"{name}.zero"] = np.zeros(len(scale), np.int8)
    into.append(_dequantize(f"{name}.codes", f"{name}.scale", f"{name}.zero", name, axis))
    steps = _steps_before(node.input[0], made_by)
    if steps is None:
        return
    if made_by[node.input[0]].op_type != "DequantizeLinear":
        codes, values = f"{node.output[0]}.in.codes", f"{node.output[0]}.in"
        into.append(onnx.helper.make_node("QuantizeLinear", [node.input[0], *steps], [codes]))
        into.append(onnx.helper.make_node("DequantizeLinear", [codes, *steps], [values]))
        node.input[0] = values
    if len(node.input) > 2:
        bias = node.input[2]
        product = (scale * arrays[steps[0]]).astype(np.float32)
        most = np.iinfo(np.int32).max // 2
        codes32 = np.clip(np.round(arrays.pop(bias).astype(np.float64) / product), -most, most).astype(np.int32)
        arrays[f"{bias}.codes"], arrays[f"{bias}.scale"] = codes32, product
        arrays[f"{bias}.zero"] = np.zeros(len(product), np.int32)
        into.append(_dequantize(f"{bias}.codes", f"{bias}.scale", f"{bias}.zero", bias, 0))


def _steps_before(name: str, made_by: dict[str, onnx.NodeProto]) -> list[str] | None:
    """The names of step and zero point of an input; None where it was not rounded."""
    while (node := made_by.get(name)) is not None:
        if node.op_type == "DequantizeLinear":
            return list(node.input[1:3])
        if node.op_type not in _MOVES:
            return None
        name = node.input[0]
    return None


def _dequantize(codes: str, scale: str, zero: str, values: str, axis: int) -> onnx.NodeProto:
    return onnx.helper.make_node("DequantizeLinear", [codes, scale, zero], [values], axis=axis)


def _transposed(node: onnx.NodeProto) -> bool:
    return any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
