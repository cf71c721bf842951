"""ONNX: opset 18 and IR 9 by default (old runtimes on devices refuse newer ones), dynamic batch, one file with the weights
inside.

torch's exporter leaves module names, stack traces and doc strings in every node, ten times the weights of a small network.
`stripped` removes them, gives short names, and leaves out attributes that are the default. Weights stay the same, bit for bit.

All ONNX variants of a network begin with the same graph, which takes torch a second: it stays cached as long as the network
lives.
"""

from __future__ import annotations

import copy
import hashlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

import numpy as np
import onnx
import torch
from onnxruntime.capi.onnxruntime_inference_collection import InferenceSession
from onnxruntime.capi.onnxruntime_pybind11_state import GraphOptimizationLevel, SessionOptions
from torch import fx, nn

from littoral.errors import RuntimeFailure
from littoral.manifest import FULL_RANGE
from littoral.preparation import Input
from littoral_cloud.export.exported import DEFAULTS, OUTPUT_NAME, Exported, Logits, Options, Prepared, folded, hushed
from littoral_cloud.export.lacking import layer_lacking
from littoral_cloud.export.lean import stripped

_TORCH_OPSET = 18  # torch silently writes this for anything older
FILE = "model.onnx"
_BATCH = "batch"
_GRAPHS: WeakKeyDictionary[nn.Module, tuple[bytes, onnx.ModelProto]] = WeakKeyDictionary()
"""By network, its last graph and a digest of what it was made from: more training makes the graph another one."""
_WAY_OUT = "use another layer in its place, or another architecture for onnxruntime nodes"


def export(module: nn.Module, given: Input, *, calibration: Prepared, options: Options = DEFAULTS) -> Exported:
    """float32 ONNX for onnxruntime; see Exporter."""
    return written(to_onnx(module, given, options), options)


def written(model: onnx.ModelProto, options: Options) -> Exported:
    """The stripped file of a graph. Raises RuntimeFailure where its options do not allow it, or onnxruntime does not load it."""
    data = stripped(model, options).SerializeToString(deterministic=True)
    _load(data)
    return Exported("onnxruntime", {FILE: data}, {}, {"opset": options.opset, "ir": options.ir})


def to_onnx(module: nn.Module, given: Input, options: Options = DEFAULTS) -> onnx.ModelProto:
    """The folded network as torch exports it, with weights inside, in this opset or the oldest that torch writes. onnxruntime
    loads it.

    Raises RuntimeFailure, naming the layer.
    """
    network = folded(module)
    made_of = _content(network, given, options)
    cached, graph = _GRAPHS.get(module, (b"", onnx.ModelProto()))
    try:
        if cached != made_of:
            graph = converted(network, given, options)
            _GRAPHS[module] = made_of, graph
    except RuntimeFailure as error:
        layer = layer_lacking(network, given.shape, lambda cut: converted(cut, given, options))
        raise RuntimeFailure(f"onnx: layer {layer} cannot be exported: {error.message}", hint=error.hint) from error
    return copy.deepcopy(graph)  # callers change it


def _content(network: fx.GraphModule, given: Input, options: Options) -> bytes:
    """A digest of all that the graph of a folded network depends on."""
    digest = hashlib.sha256(f"{network.code}\n{network}\n{given.name} {given.shape} {_opset(options)}".encode())
    for name, tensor in network.state_dict().items():
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.digest()


def _opset(options: Options) -> int:
    return max(options.opset, _TORCH_OPSET)


def converted(network: nn.Module, given: Input, options: Options) -> onnx.ModelProto:
    """A network as torch exports it, without changes. Raises RuntimeFailure."""
    # Two examples: torch would make a constant of a batch of one.
    example = torch.zeros(2, *given.shape)
    try:
        with _quiet():
            program = torch.onnx.export(
                network,
                (example,),
                dynamo=True,
                external_data=False,
                opset_version=_opset(options),
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
    _load(model.SerializeToString())
    return model


def _load(data: bytes) -> None:
    options = SessionOptions()
    options.log_severity_level = 4  # our error is enough
    options.graph_optimization_level = GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise RuntimeFailure(f"onnxruntime cannot load it: {_cause(error)}", hint=_WAY_OUT) from error


def _cause(error: BaseException) -> str:
    """The first line of the innermost error, below torch's layers of advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def infer(exported: Exported, prepared: Prepared, *, threads: int = 1, optimised: bool = True) -> Logits:
    """Logits from onnxruntime. `optimised=False` runs the graph as it is written: another order of rounding."""
    options = SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if not optimised or FULL_RANGE in exported.requires:  # in float: nothing saturates on any CPU
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
    """Hides that torch's exporter reports at each export that torchvision is missing, and warns of its own internals."""
    with hushed("torch.onnx._internal.exporter._registration"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, message=".*LeafSpec.*")
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        yield
