"""int8: B. Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference, CVPR 2018,
https://arxiv.org/abs/1712.05877.

Static: QuantizeLinear and DequantizeLinear around each layer, a scale for each channel of the weights. The ranges between
layers come from a calibration, or from the training of a network that was trained for int8 (qat.py). Weights are signed and
have 7 bits (`reduce_range`): with 8 bits, the pairwise 16-bit sums of CPUs without VNNI overflow, and an artifact must give
the same answers on all CPUs.

Dynamic: quantizes weights alone. Each inference finds the ranges between layers anew, over its whole batch, so an answer
depends a little on the other inputs. It needs no calibration. Weights are unsigned and have 8 bits: no CPU overflows with
these, and old runtimes have convolutions for them (ConvInteger).
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
from onnxruntime.quantization import calibrate
from onnxruntime.quantization.calibrate import CalibrationMethod
from onnxruntime.quantization.quant_utils import QuantFormat, QuantType
from onnxruntime.quantization.quantize import quantize_dynamic, quantize_static
from torch import fx, nn

from littoral.architectures.quantized import plain, quantizers
from littoral.errors import BadInput, RuntimeFailure
from littoral.manifest import FULL_RANGE
from littoral.preparation import Input
from littoral_cloud.export import tensorrt
from littoral_cloud.export.calibration import CalibrationBatches
from littoral_cloud.export.exported import DEFAULTS, Calibration, Exported, Options, Prepared, hushed, unstrided
from littoral_cloud.export.onnx import converted, to_onnx, written
from littoral_cloud.export.qdq import Rounded, with_integer_weights

_METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}

vars(calibrate)["print"] = lambda *_: None  # it prints the progress of its histograms


def export_int8(module: nn.Module, given: Input, *, calibration: Prepared, options: Options = DEFAULTS) -> Exported:
    """Static int8 ONNX; see Exporter. A network trained for int8 needs no calibration; for others, BadInput without one."""
    if quantizers(module):
        return written(as_trained(module, given, options), options)
    return _static(module, given, calibration, options)


def export_int8_dynamic(module: nn.Module, given: Input, *, calibration: Prepared, options: Options = DEFAULTS) -> Exported:
    """Dynamic int8 ONNX; see Exporter."""

    def quantize(model: onnx.ModelProto, path: str) -> None:
        quantize_dynamic(model, path, per_channel=True, weight_type=QuantType.QUInt8)

    return written(_by_onnxruntime(to_onnx(module, given, options), quantize), options)


def export_int8_full(module: nn.Module, given: Input, *, calibration: Prepared, options: Options = DEFAULTS) -> Exported:
    """Static int8 ONNX with weights of all 8 bits: a little nearer to float32, and wrong on CPUs that have neither VNNI nor ARM's
    dot product, so it requires one of them. The ranges come from a calibration, also for a network trained for int8; see
    Exporter."""
    made = _static(module, given, calibration, options, reduce_range=False)
    return replace(made, requires={**made.requires, FULL_RANGE: 1})


def export_tensorrt_int8(module: nn.Module, given: Input, *, calibration: Prepared, options: Options = DEFAULTS) -> Exported:
    """int8 as TensorRT takes it (see littoral_cloud.export.tensorrt): every zero point is 0, weights and values are signed,
    biases stay float. The ranges come from a calibration, also for a network trained for int8; see Exporter."""
    return tensorrt.wrapped(_static(module, given, calibration, options, reduce_range=False, symmetric=True), "int8")


def _static(module: nn.Module, given: Input, calibration: Prepared, options: Options, **how: bool) -> Exported:
    """`how`: see `quantized`. Raises BadInput without calibration inputs."""
    if len(calibration) == 0:
        raise BadInput("int8: no calibration inputs", hint="give a few hundred prepared training inputs")
    return written(quantized(to_onnx(module, given, options), given.name, calibration, options.calibration, **how), options)


def as_trained(module: nn.Module, given: Input, options: Options = DEFAULTS) -> onnx.ModelProto:
    """The int8 graph of a network that was trained for it, with the steps of the training."""
    network = plain(copy.deepcopy(module).eval(), Rounded)
    assert isinstance(network, fx.GraphModule)  # as littoral.architectures.quantized makes it
    return with_integer_weights(converted(unstrided(network), given, options))


def quantized(
    model: onnx.ModelProto,
    input_name: str,
    calibration: Prepared,
    how: Calibration = DEFAULTS.calibration,
    *,
    reduce_range: bool = True,
    symmetric: bool = False,
) -> onnx.ModelProto:
    """The graph with int8 weights and uint8 values between layers, with ranges from the calibration inputs.

    Args:
        reduce_range: weights of 7 bits.
        symmetric: values between layers are int8, every zero point is 0, and weights and biases stay float in the file, the
            weights before a QuantizeLinear: TensorRT takes nothing else.
    """
    extra: dict[str, Any] = {"CalibPercentile": how.percentile} if how.method == "percentile" else {}
    if symmetric:
        extra |= {"ActivationSymmetric": True, "WeightSymmetric": True, "AddQDQPairToWeight": True, "QuantizeBias": False}

    def quantize(model: onnx.ModelProto, path: str) -> None:
        quantize_static(
            model,
            path,
            CalibrationBatches({input_name: calibration}),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=reduce_range,
            activation_type=QuantType.QInt8 if symmetric else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=_METHODS[how.method],
            extra_options=extra,
        )

    return _by_onnxruntime(model, quantize)


def _by_onnxruntime(model: onnx.ModelProto, quantize: Callable[[onnx.ModelProto, str], None]) -> onnx.ModelProto:
    # The root logger warns that the graph did not go through onnxruntime's own pre-processing.
    with tempfile.TemporaryDirectory(prefix="littoral-int8-") as scratch, hushed():
        path = Path(scratch, "int8.onnx")
        try:
            quantize(model, str(path))
        except (ValueError, RuntimeError, TypeError) as error:
            raise RuntimeFailure(f"int8: onnxruntime cannot quantize the graph: {error}") from error
        return onnx.load(str(path))
