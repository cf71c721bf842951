"""int8 of a graph from elsewhere, ranges by calibration, as cloud/factory/quantize.py does it for our own; without torch."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx
from onnxruntime.quantization.calibrate import CalibrationDataReader, CalibrationMethod
from onnxruntime.quantization.quant_utils import QuantFormat, QuantType
from onnxruntime.quantization.quantize import quantize_static

from littoral.errors import RuntimeFailure

BATCH = 64
LEAST_OPSET = 13
"""Below it scales have no channels."""


class _Reader(CalibrationDataReader):
    def __init__(self, feeds: Mapping[str, Any], batch: int) -> None:
        count = len(next(iter(feeds.values())))
        parts = [{name: array[i : i + batch] for name, array in feeds.items()} for i in range(0, count - count % batch, batch)]
        self._parts: Iterator[dict[str, Any]] = iter(parts)

    def get_next(self) -> dict[str, Any]:
        return next(self._parts, None)  # type: ignore[arg-type]  # None ends it, whatever the base class declares


def quantized(model: onnx.ModelProto, feeds: Mapping[str, Any], what: str) -> bytes:
    """The file of the graph with int8 weights and uint8 values between layers.

    Args:
        feeds: calibration inputs by name, (n, ...) each; where the graph has a batch of its own, n is a multiple of it.

    Raises RuntimeFailure where onnxruntime cannot quantize it.
    """
    first = model.graph.input[0].type.tensor_type.shape.dim
    fixed = first[0].dim_value if first and first[0].HasField("dim_value") else 0
    logging.getLogger().setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="littoral-int8-") as scratch:
        path = Path(scratch, "int8.onnx")
        opset = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)
        try:
            quantize_static(
                model,
                str(path),
                _Reader(feeds, fixed or min(BATCH, len(next(iter(feeds.values()))))),
                quant_format=QuantFormat.QDQ,
                per_channel=opset >= LEAST_OPSET,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
            )
        except Exception as error:
            raise RuntimeFailure(f"{what}: int8: onnxruntime cannot quantize it: {str(error)[:200]}") from error
        return path.read_bytes()
