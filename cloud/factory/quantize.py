"""int8 after training: B. Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference, 2017, https://arxiv.org/abs/1712.05877; by onnxruntime, as QuantizeLinear and DequantizeLinear around each layer.

Weights are signed and 7 bit wide (`reduce_range`), a scale for each channel: the pairwise 16-bit sums of CPUs without VNNI
overflow with 8-bit ones, and one artifact must answer alike on all of them.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
from onnxruntime.quantization.calibrate import CalibrationDataReader, CalibrationMethod
from onnxruntime.quantization.quant_utils import QuantFormat, QuantType
from onnxruntime.quantization.quantize import quantize_static
from torch import nn

from cloud.export.exported import Exported, Prepared
from cloud.export.onnx import FILE, IR, OPSET, stripped, to_onnx
from littoral.errors import BadInput, RuntimeFailure
from littoral.manifest import Input

CALIBRATION_BATCH = 64


class _Reader(CalibrationDataReader):
    def __init__(self, name: str, prepared: Prepared) -> None:
        self._batches: Iterator[dict[str, Any]] = iter(
            [{name: prepared[i : i + CALIBRATION_BATCH]} for i in range(0, len(prepared), CALIBRATION_BATCH)]
        )

    def get_next(self) -> dict[str, Any]:
        return next(self._batches, None)  # type: ignore[arg-type]  # None ends it, whatever the base class declares


def export_int8(module: nn.Module, given: Input, *, calibration: Prepared) -> Exported:
    """Static int8 ONNX; see Exporter. Raises BadInput without calibration inputs."""
    if len(calibration) == 0:
        raise BadInput("int8: no calibration inputs", hint="give a few hundred prepared training inputs")
    model = quantized(to_onnx(module, given), given.name, calibration)
    return Exported("onnxruntime", {FILE: stripped(model).SerializeToString()}, {}, {"opset": OPSET, "ir": IR})


def quantized(model: onnx.ModelProto, input_name: str, calibration: Prepared) -> onnx.ModelProto:
    """The graph with int8 weights and uint8 activations, whose ranges are the extremes seen on the calibration inputs."""
    logger = logging.getLogger()
    level = logger.level
    with tempfile.TemporaryDirectory(prefix="littoral-int8-") as scratch:
        path = Path(scratch, "int8.onnx")
        try:
            logger.setLevel(logging.ERROR)  # it warns on the root logger that it was not given its own pre-processing
            quantize_static(
                model,
                str(path),
                _Reader(input_name, calibration),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
            )
        except (ValueError, RuntimeError, TypeError) as error:
            raise RuntimeFailure(f"int8: onnxruntime cannot quantize the graph: {error}") from error
        finally:
            logger.setLevel(level)
        return onnx.load(str(path))
