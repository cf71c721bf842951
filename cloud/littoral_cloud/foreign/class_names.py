"""What a graph itself says of its classes: their names, and the maps that scikit-learn's converter makes of chances. For the
child alone, see child.py.

Names stand in an attribute of a classifier or a ZipMap (`classlabels_...`), in a LabelEncoder, or as a row of texts. A ZipMap
gives a list of {name: chance}, which nodes do not serve: the tensor that it is made of is given in its place.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import onnx
from onnx import TensorProto, helper

_ATTRIBUTES = ("classlabels_strings", "classlabels_int64s", "classlabels_ints")
_MOST_NAMES, _MOST_ROWS, _MOST_LETTERS = 1 << 16, 16, 1 << 20


def class_names(model: onnx.ModelProto) -> list[list[str]]:
    """Every row of different names that may be the classes', in the order of the graph's classes; none twice."""
    found = [names for names in _rows(model.graph) if 2 <= len(names) <= _MOST_NAMES and len(set(names)) == len(names)]
    rows = [list(names) for names in dict.fromkeys(map(tuple, found))][:_MOST_ROWS]
    return rows if sum(len(name) for names in rows for name in names) <= _MOST_LETTERS else []


def maps_opened(model: onnx.ModelProto) -> list[list[str]]:
    """Changes the graph: where an output is made by ZipMap, the tensor of chances is the output. [from, to] by name, of each."""
    graph, opened = model.graph, []
    given = {output.name for output in graph.output}
    maps = [node for node in graph.node if node.op_type == "ZipMap" and node.domain == "ai.onnx.ml"]
    for node in (node for node in maps if len(node.input) == len(node.output) == 1):  # what is none is onnxruntime's to refuse
        mapped, chances = node.output[0], node.input[0]
        if mapped not in given:
            continue
        places = {output.name: i for i, output in enumerate(graph.output)}
        tensor = helper.make_tensor_value_info(chances, TensorProto.FLOAT, [None, None])
        if chances in places:
            del graph.output[places[mapped]]
        else:
            graph.output[places[mapped]].CopyFrom(tensor)
        graph.node.remove(node)
        opened.append([mapped, chances])
    return opened


def _rows(graph: Any) -> Iterator[list[str]]:
    for node in graph.node:
        attributes = {attribute.name: attribute for attribute in node.attribute}
        for name in _ATTRIBUTES:
            if name in attributes:
                yield [*map(_text, attributes[name].strings), *map(str, attributes[name].ints)]
        keys, values = attributes.get("keys_int64s"), attributes.get("values_strings")
        if node.op_type == "LabelEncoder" and keys and values and sorted(keys.ints) == list(range(len(values.strings))):
            yield [text for _, text in sorted(zip(keys.ints, map(_text, values.strings), strict=True))]
        if node.op_type == "Constant" and "value_strings" in attributes:
            yield [*map(_text, attributes["value_strings"].strings)]
        if node.op_type == "Constant" and "value" in attributes:
            yield from _texts(attributes["value"].t)
    for tensor in graph.initializer:
        yield from _texts(tensor)


def _texts(tensor: Any) -> Iterator[list[str]]:
    if tensor.data_type == TensorProto.STRING:
        yield [*map(_text, tensor.string_data)]


def _text(data: bytes) -> str:
    return data.decode(errors="replace")
