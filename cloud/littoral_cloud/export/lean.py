"""Strips an ONNX graph of all that a runtime does not need, and writes it in a given opset and IR.

It removes doc strings, metadata, the producer, node names, the shapes of inner values, attributes with default values, and
initializers that no node reads or that are there twice. Names, types and shapes of inputs and outputs stay, and every number, bit
for bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from littoral.errors import RuntimeFailure
from littoral_cloud.export.exported import DEFAULTS, Options

_GRAPH = "g"  # a graph must have a name
_WAY_OUT = "leave out opset, or use another architecture"
# Attributes that a runtime reads from the weights, where they are in the file.
_FROM_WEIGHTS = {"Conv": ("kernel_shape",)}
# Lists that, one number an axis, mean the same as no list.
_USUAL = {"strides": 1, "dilations": 1, "pads": 0}


def stripped(model: onnx.ModelProto, options: Options = DEFAULTS) -> onnx.ModelProto:
    """The graph without all that a runtime does not need, in this opset and IR.

    Raises:
        RuntimeFailure: the graph has an operator that this opset lacks, functions, operators of other domains, or data outside
            the file.
    """
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    used = {node.domain for node in model.graph.node}
    if used != {""} or len(model.functions) or len(model.graph.sparse_initializer):
        raise RuntimeFailure(f"onnx: the graph needs {opsets}, domains {sorted(used)}; only plain ONNX is shipped", hint=_WAY_OUT)
    if opsets[""] < options.opset:
        raise RuntimeFailure(f"onnx: the graph is of opset {opsets['']}, not {options.opset}", hint=_WAY_OUT)
    lean = onnx.ModelProto(ir_version=options.ir)
    lean.opset_import.add(domain="", version=options.opset)
    lean.graph.name = _GRAPH
    arrays = {tensor.name: _array(tensor) for tensor in model.graph.initializer}
    names = _Names([value.name for value in (*model.graph.input, *model.graph.output)])
    nodes = [_plain(node, arrays, opsets[""], options.opset) for node in model.graph.node]
    _name_initializers(lean, arrays, [name for node in nodes for name in node.input], names)
    for node in nodes:
        node.input[:] = [names.short(name) for name in node.input]
        node.output[:] = [names.short(name) for name in node.output]
        lean.graph.node.append(node)
    for values, plain_values in ((model.graph.input, lean.graph.input), (model.graph.output, lean.graph.output)):
        for value in values:
            plain_values.add(name=value.name).type.CopyFrom(value.type)
    try:
        onnx.checker.check_model(lean, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = str(error).strip().splitlines()[0]
        raise RuntimeFailure(
            f"onnx: cannot be written in opset {options.opset}, IR {options.ir}: {reason}", hint=_WAY_OUT
        ) from error
    return lean


class _Names:
    """Short names, except for inputs and outputs."""

    def __init__(self, fixed: list[str]) -> None:
        self._names = {name: name for name in ("", *fixed)}

    def short(self, name: str) -> str:
        return self._names.setdefault(name, f"{len(self._names):x}")

    def alias(self, name: str, of: str) -> None:
        self._names[name] = self.short(of)


def _array(tensor: onnx.TensorProto) -> np.ndarray[Any, Any]:
    if tensor.data_location != onnx.TensorProto.DEFAULT:
        raise RuntimeFailure(f"onnx: {tensor.name} lies outside the file", hint="export with the weights inside")
    return np.ascontiguousarray(onnx.numpy_helper.to_array(tensor)).reshape(tensor.dims)


def _name_initializers(lean: onnx.ModelProto, arrays: dict[str, np.ndarray[Any, Any]], read: list[str], names: _Names) -> None:
    """Adds the initializers that a node reads, each content once."""
    first: dict[tuple[str, tuple[int, ...], bytes], str] = {}
    for name in dict.fromkeys(read):
        if name not in arrays:
            continue
        array = arrays[name]
        content = (array.dtype.str, array.shape, array.tobytes())
        if content in first:
            names.alias(name, first[content])
        else:
            first[content] = name
            lean.graph.initializer.append(onnx.numpy_helper.from_array(array, names.short(name)))


def _plain(node: onnx.NodeProto, arrays: dict[str, np.ndarray[Any, Any]], before: int, opset: int) -> onnx.NodeProto:
    """A node as this opset writes it, with those attributes alone that are not the default."""
    plain = onnx.NodeProto(op_type=node.op_type, input=node.input, output=node.output)
    schema = onnx.defs.get_schema(node.op_type, before, "")
    for attribute in node.attribute:
        if not _is_default(node, attribute, schema, arrays):
            plain.attribute.add().CopyFrom(attribute)
            plain.attribute[-1].doc_string = ""
    if opset < before:
        _lower(plain, arrays, opset)
    return plain


def _is_default(
    node: onnx.NodeProto, attribute: onnx.AttributeProto, schema: onnx.defs.OpSchema, arrays: dict[str, np.ndarray[Any, Any]]
) -> bool:
    value = onnx.helper.get_attribute_value(attribute)
    if attribute.name in _FROM_WEIGHTS.get(node.op_type, ()):
        return node.input[1] in arrays
    if node.op_type == "Reshape" and attribute.name == "allowzero":
        return node.input[1] in arrays and 0 not in arrays[node.input[1]]
    if attribute.name in _USUAL and attribute.ints:
        return all(number == _USUAL[attribute.name] for number in attribute.ints)
    usual = schema.attributes[attribute.name].default_value
    return usual.type != onnx.AttributeProto.UNDEFINED and bool(onnx.helper.get_attribute_value(usual) == value)


def _lower(node: onnx.NodeProto, arrays: dict[str, np.ndarray[Any, Any]], opset: int) -> None:
    """Rewrites the node for older opsets, from 13 on; the checker finds what these cannot express."""
    if node.op_type.startswith("Reduce") and node.op_type != "ReduceSum" and opset < 18 and len(node.input) > 1:
        if node.input[1] not in arrays:
            raise RuntimeFailure(f"onnx: {node.op_type} has axes that are not constant, which opset {opset} lacks", hint=_WAY_OUT)
        axes = [int(axis) for axis in arrays[node.input[1]].reshape(-1)]
        node.attribute.append(onnx.helper.make_attribute("axes", axes))
        del node.input[1:]
    if node.op_type == "Split" and opset < 18 and len(node.input) < 2:
        # Without sizes, older opsets cut into equal parts.
        others = [attribute for attribute in node.attribute if attribute.name != "num_outputs"]
        del node.attribute[:]
        node.attribute.extend(others)
