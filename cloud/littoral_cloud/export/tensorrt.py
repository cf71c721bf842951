"""TensorRT, through onnxruntime's TensorRT provider on the node (littoral_node/runtimes/tensorrt_runtime.py): an ONNX file, the
precision for TensorRT's engine, and the number of rows at once.

The node builds the engine, for its own GPU: no engine can be built here, or run elsewhere. The accuracy of an artifact is
measured on the CPU with the graph as it is written: it calculates quantized values in float32, so nothing saturates.
"""

from __future__ import annotations

from torch import nn

from littoral.preparation import Input
from littoral_cloud.export import onnx
from littoral_cloud.export.exported import DEFAULTS, Exported, Logits, Options, Prepared

BATCH = (1, 1, 32)
"""The fewest, usual and most rows of an engine; the node splits a longer request."""


def export_fp16(module: nn.Module, given: Input, *, calibration: Prepared, options: Options = DEFAULTS) -> Exported:
    """float32 in the file, float16 in the engine; see Exporter."""
    return wrapped(onnx.export(module, given, calibration=calibration, options=options), "fp16")


def wrapped(exported: Exported, precision: str) -> Exported:
    """An ONNX artifact for the runtime "tensorrt"; `precision` is "fp32", "fp16" or "int8"."""
    return Exported("tensorrt", exported.files, {"precision": precision, "batch": list(BATCH)}, exported.requires)


def infer(exported: Exported, prepared: Prepared, *, threads: int = 1, optimised: bool = True) -> Logits:
    """Logits of the graph, in float32 on the CPU; not those of TensorRT."""
    return onnx.infer(exported, prepared, threads=threads, optimised=False)
