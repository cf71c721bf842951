"""int8 of a graph from elsewhere, ranges by calibration, as littoral_cloud/export/int8.py does it for our own; without torch.

onnxruntime quantizes the weights that it finds among a graph's initializers. So first everything that does not depend on an
input becomes one: constants, and weights that are cast, turned or scaled before they are used.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import onnx
from onnx import TensorProto
from onnxruntime.capi.onnxruntime_inference_collection import InferenceSession
from onnxruntime.capi.onnxruntime_pybind11_state import GraphOptimizationLevel, SessionOptions
from onnxruntime.quantization.calibrate import CalibrationMethod
from onnxruntime.quantization.quant_utils import QuantFormat, QuantType
from onnxruntime.quantization.quantize import quantize_static

from littoral.errors import RuntimeFailure
from littoral.tensor_spec import FREE
from littoral_cloud.export.calibration import BATCH, CalibrationBatches

LEAST_OPSET = 13
"""Below it scales have no channels."""
LAYERS: Final = ("Conv", "ConvTranspose", "Gather", "Gemm", "MatMul")
"""Where the weights are."""
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16)


@dataclass(frozen=True, slots=True)
class Quantized:
    data: bytes
    opset: int
    ir: int


def quantized(model: onnx.ModelProto, feeds: Mapping[str, Any], batch: int, what: str, *, layers_alone: bool) -> Quantized:
    """The graph with int8 weights and uint8 values between layers.

    Args:
        feeds: calibration inputs by name, (n, ...) each.
        batch: of the graph's own, of which n is a multiple; FREE: any.
        layers_alone: of operators without weights, values stay floats: a mask of -1e38 that is added would take all of a range
            for itself.

    Raises RuntimeFailure where onnxruntime cannot quantize it, or it has no weights to make smaller.
    """
    logging.getLogger().setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="littoral-int8-") as scratch:
        ready, path = _folded(_with_initializers(model), Path(scratch, "folded.onnx")), Path(scratch, "int8.onnx")
        weights = {tensor.name for tensor in ready.graph.initializer if tensor.data_type in _FLOATS}
        if not any(node.op_type in LAYERS and weights & set(node.input) for node in ready.graph.node):
            raise RuntimeFailure(f"{what}: int8: it has no layer whose weights would be smaller ({', '.join(LAYERS)})")
        try:
            quantize_static(
                ready,
                str(path),
                CalibrationBatches(feeds, batch if batch != FREE else min(BATCH, len(next(iter(feeds.values())))), whole=True),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(LAYERS) if layers_alone else None,
                per_channel=_opset(ready) >= LEAST_OPSET,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
            )
        except Exception as error:
            raise RuntimeFailure(f"{what}: int8: onnxruntime cannot quantize it: {str(error)[:200]}") from error
        made = onnx.load(str(path))
        return Quantized(path.read_bytes(), _opset(made), int(made.ir_version))


def _opset(model: onnx.ModelProto) -> int:
    return max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)


def _with_initializers(given: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose constants are initializers, none of them an input too, and which names ONNX's own operators once."""
    model = onnx.ModelProto()
    model.CopyFrom(given)
    graph = model.graph
    outputs = {output.name for output in graph.output}
    for node in [node for node in graph.node if node.op_type == "Constant" and node.output[0] not in outputs]:
        [attribute] = node.attribute
        if attribute.name == "value":
            tensor = graph.initializer.add()
            tensor.CopyFrom(attribute.t)
            tensor.name = node.output[0]
            graph.node.remove(node)
    names = {tensor.name for tensor in graph.initializer}
    for place in reversed(range(len(graph.input))):
        if graph.input[place].name in names:
            del graph.input[place]
    model.ir_version = max(model.ir_version, 4)  # before it an initializer had to be an input
    own = [entry for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    for entry in own[1:]:
        own[0].version = max(own[0].version, entry.version)
        model.opset_import.remove(entry)
    return model


def _folded(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """What onnxruntime works out before the first inference, worked out; the graph as it is where it cannot write that."""
    options = SessionOptions()
    options.graph_optimization_level = GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path)
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"], disabled_optimizers=["MatMulAddFusion"]
        )  # which would make a layer's bias of a mask that is added
        folded = onnx.load(str(path))
    except Exception as error:  # noqa: BLE001 - onnxruntime's errors share no base, and it is no loss
        logging.getLogger(__name__).debug("not folded: %s", error)
        return model
    return folded
