"""TensorRT (https://developer.nvidia.com/tensorrt), through onnxruntime's TensorRT provider.

An artifact is an ONNX file with batches in a range that its manifest says. TensorRT builds an engine of it for this very GPU,
which takes up to minutes; engine and timing cache are stored, so that only the first start waits. What runs on the CPU instead is
refused: an artifact for TensorRT was measured and chosen for what it costs there.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from littoral.errors import RuntimeFailure
from littoral.manifest import Manifest
from littoral_node.machine.runtime_facts import RuntimeFacts
from littoral_node.runtimes import onnx_limits, onnx_runtime
from littoral_node.runtimes.onnx_providers import GET, NAMES, engine_cache, ran_on, why_missing
from littoral_node.runtimes.onnx_runtime import OnnxModel, session_of, session_options
from littoral_node.runtimes.using import in_use

PRECISIONS = ("fp32", "fp16", "int8")
BATCHES = (1, 1, 32)
"""Least, usual and most rows at once, where a manifest does not say."""


def version() -> str:
    return onnx_runtime.version()


def look() -> RuntimeFacts:
    onnxruntime: Any = importlib.import_module("onnxruntime")
    model, built = onnx_limits.tiny(*onnx_limits.OLDEST), onnxruntime.get_available_providers()
    if (why := why_missing(onnxruntime, model, lambda: session_options(onnxruntime, 1), "tensorrt", built)) is not None:
        raise RuntimeFailure(why, hint=GET["tensorrt"])
    return RuntimeFacts(version(), *onnx_runtime.limits(onnxruntime), ("tensorrt",))


def provider_options(manifest: Manifest, cache: Path | None) -> dict[str, str]:
    """For onnxruntime's TensorRT provider.

    Raises RuntimeFailure where the manifest says a precision or batches that are not known.
    """
    options = manifest.runtime_options
    precision = options.get("precision", "fp32")
    if precision not in PRECISIONS:
        raise RuntimeFailure(
            f"tensorrt: runtime_options.precision: {str(precision)[:40]!r}", hint=f"one of {', '.join(PRECISIONS)}"
        )
    least, usual, most = batches_of(options)
    sizes = "x".join(map(str, manifest.input.shape))
    profiles = {
        f"trt_profile_{name}_shapes": f"{manifest.input.name}:{count}x{sizes}"
        for name, count in (("min", least), ("opt", usual), ("max", most))
    }
    return {
        "trt_fp16_enable": str(int(precision != "fp32")),  # with int8, what is not quantized runs in half precision
        "trt_int8_enable": str(int(precision == "int8")),
        **profiles,
        **engine_cache(cache),
    }


def batches_of(options: Mapping[str, Any]) -> tuple[int, int, int]:
    """(least, usual, most) rows at once. Raises RuntimeFailure."""
    batch = options.get("batch", BATCHES)
    numbers = isinstance(batch, list | tuple) and len(batch) == 3 and all(isinstance(n, int) for n in batch)
    if not numbers or not 1 <= batch[0] <= batch[1] <= batch[2] or batch[0] != 1:
        raise RuntimeFailure(
            f"tensorrt: runtime_options.batch: {str(batch)[:60]} is not [1, usual, most]",
            hint="three rising whole numbers from 1",
        )
    return batch[0], batch[1], batch[2]


def load(manifest: Manifest, folder: Path, threads: int) -> OnnxModel:
    onnxruntime: Any = importlib.import_module("onnxruntime")
    provider = NAMES["tensorrt"]
    if provider not in onnxruntime.get_available_providers():
        raise RuntimeFailure(
            f"tensorrt: not available: onnxruntime {onnxruntime.__version__} was built without {provider}", hint=GET["tensorrt"]
        )
    options = provider_options(manifest, in_use().cache)
    session = session_of(onnxruntime, manifest, folder, threads, [(provider, options), (NAMES["cpu"], {})])
    if "tensorrt" not in ran_on(session):
        raise RuntimeFailure(
            f"tensorrt: {manifest.name}: onnxruntime fell back to {', '.join(ran_on(session))}",
            hint="littoral-node doctor says why",
        )
    return OnnxModel(session, manifest, most=batches_of(manifest.runtime_options)[2])
