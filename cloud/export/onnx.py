"""ONNX: opset 18, IR 9 (old runtimes on devices refuse newer ones), dynamic batch, and nothing in it but the graph.

torch's exporter leaves module names, stack traces and doc strings in every node, ten times the weights of a small network;
`stripped` takes all of it out and numbers what has no need of a name.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import onnx
import torch
from onnxruntime.capi.onnxruntime_inference_collection import InferenceSession
from onnxruntime.capi.onnxruntime_pybind11_state import GraphOptimizationLevel, SessionOptions
from torch import nn

from cloud.export.exported import OUTPUT_NAME, Exported, Logits, Prepared, folded
from cloud.export.lacking import layer_lacking
from littoral.errors import RuntimeFailure
from littoral.manifest import Input

OPSET = 18
IR = 9
FILE = "model.onnx"
_BATCH = "batch"
_WAY_OUT = "use another layer in its place, or another architecture for onnxruntime nodes"


def export(module: nn.Module, given: Input, *, calibration: Prepared) -> Exported:
    """float32 ONNX for onnxruntime; see Exporter."""
    return Exported("onnxruntime", {FILE: stripped(to_onnx(module, given)).SerializeToString()}, {}, {"opset": OPSET, "ir": IR})


def to_onnx(module: nn.Module, given: Input) -> onnx.ModelProto:
    """The folded network as torch exports it, weights inside; onnxruntime loads it. Raises RuntimeFailure, naming the layer."""
    network = folded(module)
    try:
        return _converted(network, given)
    except RuntimeFailure as error:
        layer = layer_lacking(network, given.shape, lambda cut: _converted(cut, given))
        raise RuntimeFailure(f"onnx: layer {layer} cannot be exported: {error.message}", hint=error.hint) from error


def _converted(network: nn.Module, given: Input) -> onnx.ModelProto:
    # Two, not one: a batch of one would be taken for a constant.
    example = torch.zeros(2, *given.shape)
    try:
        with _quiet():
            program = torch.onnx.export(
                network,
                (example,),
                dynamo=True,
                external_data=False,
                opset_version=OPSET,
                input_names=[given.name],
                output_names=[OUTPUT_NAME],
                dynamic_shapes=({0: torch.export.Dim(_BATCH)},),
                verbose=False,
            )
    except (torch.onnx.OnnxExporterError, RuntimeError, ValueError) as error:
        raise RuntimeFailure(_cause(error), hint=_WAY_OUT) from error
    if program is None:
        raise RuntimeFailure("torch gave no program", hint=_WAY_OUT)
    model: onnx.ModelProto = program.model_proto
    options = SessionOptions()
    options.log_severity_level = 4  # what goes wrong is said once, by us
    options.graph_optimization_level = GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise RuntimeFailure(f"onnxruntime cannot load it: {_cause(error)}", hint=_WAY_OUT) from error
    return model


def _cause(error: BaseException) -> str:
    """The first line of what lies under torch's layers of advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def stripped(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph without doc strings, metadata, intermediate shapes and long names; IR and producer fixed.

    Raises RuntimeFailure where it holds what cannot be kept under opset 18: another opset, functions, or data outside the file.
    """
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    used = {node.domain for node in model.graph.node}
    if opsets.get("") != OPSET or used != {""} or len(model.functions):
        raise RuntimeFailure(f"onnx: the graph needs {opsets}, domains {sorted(used)}; only plain opset {OPSET} is shipped")
    lean = onnx.ModelProto(ir_version=IR, producer_name="littoral")
    lean.opset_import.add(domain="", version=OPSET)
    graph = model.graph
    lean.graph.name = "graph"
    keep = [value.name for value in (*graph.input, *graph.output)]
    names = {name: name for name in ("", *keep)}

    def short(name: str) -> str:
        return names.setdefault(name, f"{len(names):x}")

    for tensor in graph.initializer:
        if tensor.data_location != onnx.TensorProto.DEFAULT:
            raise RuntimeFailure(f"onnx: {tensor.name} lies outside the file")
        array = np.ascontiguousarray(onnx.numpy_helper.to_array(tensor))
        lean.graph.initializer.append(onnx.numpy_helper.from_array(array.reshape(tensor.dims), short(tensor.name)))
    for node in graph.node:
        plain = lean.graph.node.add(op_type=node.op_type, input=map(short, node.input), output=map(short, node.output))
        for attribute in node.attribute:
            plain.attribute.add().CopyFrom(attribute)
            plain.attribute[-1].doc_string = ""
    for values, plain_values in ((graph.input, lean.graph.input), (graph.output, lean.graph.output)):
        for value in values:
            plain_values.add(name=value.name).type.CopyFrom(value.type)
    onnx.checker.check_model(lean, full_check=True)
    return lean


def infer(exported: Exported, prepared: Prepared, *, threads: int = 1, optimised: bool = True) -> Logits:
    """Logits as onnxruntime gives them. `optimised=False` runs the graph as it is written: another order of rounding."""
    options = SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if not optimised:
        options.graph_optimization_level = GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = InferenceSession(exported.files[FILE], options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        parts = [np.asarray(session.run([OUTPUT_NAME], {name: prepared[i : i + 500]})[0]) for i in range(0, len(prepared), 500)]
    except Exception as error:
        raise RuntimeFailure(f"onnx: onnxruntime cannot run the artifact: {error}") from error
    return np.concatenate(parts).astype(np.float32)


@contextmanager
def _quiet() -> Iterator[None]:
    """torch's exporter says once an export that torchvision is not there, and warns of its own internals."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning, message=".*LeafSpec.*")
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            yield
    finally:
        logger.setLevel(level)
