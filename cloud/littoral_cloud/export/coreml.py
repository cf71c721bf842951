"""Core ML: an ML program (macOS 12, iOS 15 and later) of batch 1, its weights in float32 or float16.

coremltools (https://github.com/apple/coremltools) converts on any system and predicts on macOS alone. So `read`
(littoral_cloud/export/coreml_reading.py) runs each operation of the written package in torch, with the weights of the package.
This checks the program; only a Mac shows how Core ML rounds it, and on which of its processors.
"""

from __future__ import annotations

import gc
import importlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn

from littoral.errors import RuntimeFailure, Unavailable
from littoral.mlpackage import MODEL, taken_from
from littoral.preparation import Input
from littoral_cloud.export.coreml_reading import read
from littoral_cloud.export.exported import DEFAULTS, OUTPUT_NAME, Exported, Logits, Options, Prepared, folded
from littoral_cloud.export.lacking import layer_lacking

_WAY_OUT = "use another layer in its place, or another architecture for coreml nodes"


def export(
    module: nn.Module, given: Input, *, calibration: Prepared, options: Options = DEFAULTS, precision: str = "FLOAT32"
) -> Exported:
    """Weights and arithmetic of a precision: FLOAT32, or FLOAT16, which the neural engine needs; see Exporter."""
    coremltools = load_coremltools()
    network = _without_shuffles(folded(module))
    try:
        files = _converted(coremltools, network, given, precision)
    except RuntimeFailure as error:
        layer = layer_lacking(network, given.shape, lambda cut: _converted(coremltools, cut, given, precision))
        raise RuntimeFailure(f"coreml: layer {layer} cannot be exported: {error.message}", hint=error.hint) from error
    return Exported("coreml", files, {"compute_units": "ALL"}, {})


def load_coremltools() -> Any:
    """The module. Raises Unavailable where it is not installed."""
    try:
        with quiet():
            return importlib.import_module("coremltools")
    except ImportError as error:
        raise Unavailable("coreml: coremltools is not installed", hint="pip install 'littoral[coreml]'") from error


def _converted(coremltools: Any, network: nn.Module, given: Input, precision: str) -> dict[str, bytes]:
    """The two files of a package by path. Raises RuntimeFailure."""
    with quiet(), torch.inference_mode(), tempfile.TemporaryDirectory(prefix="littoral-coreml-") as scratch:
        try:
            traced: Any = torch.jit.trace(network, torch.zeros(1, *given.shape))  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            raise RuntimeFailure(f"torch cannot run it: {_cause(error)}") from error
        try:
            model = coremltools.convert(
                traced,
                convert_to="mlprogram",
                inputs=[coremltools.TensorType(given.name, (1, *given.shape))],
                outputs=[coremltools.TensorType(OUTPUT_NAME)],
                minimum_deployment_target=coremltools.target.iOS15,
                compute_precision=getattr(coremltools.precision, precision),
                compute_units=coremltools.ComputeUnit.CPU_ONLY,
                skip_model_load=True,
            )
            why = ""
        except Exception as error:  # noqa: BLE001 - coremltools' errors share no base
            why = _cause(error)
        if why:
            gc.collect()  # coremltools leaves a folder behind, and Python warns when it collects that: do it here, quietly
            raise RuntimeFailure(why, hint=_WAY_OUT)
        package = Path(scratch, "model.mlpackage")
        model.save(str(package))
        files = taken_from(package)
    spec = model.get_spec()
    spec.ClearField("isUpdatable")
    spec.description.ClearField("metadata")  # versions and times of the conversion
    return {**files, MODEL: bytes(spec.SerializeToString(deterministic=True))}


def _cause(error: BaseException) -> str:
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return lines[0].strip() if lines else type(error).__name__


def _without_shuffles(network: fx.GraphModule) -> fx.GraphModule:
    """Replaces channel shuffles, which coremltools does not know, by reshapes. Changes the network."""
    for node in list(network.graph.nodes):
        if node.op == "call_function" and node.target in (torch.channel_shuffle, nn.functional.channel_shuffle):
            node.target = _shuffled
        elif node.op == "call_module" and isinstance(layer := network.get_submodule(str(node.target)), nn.ChannelShuffle):
            node.op, node.target, node.args = "call_function", _shuffled, (node.args[0], layer.groups)
    network.recompile()
    return network


def _shuffled(x: torch.Tensor, groups: int) -> torch.Tensor:
    _, channels, height, width = (int(size) for size in x.shape)  # constants of the trace
    # Four dimensions at most in between: five are slow on the neural engine.
    grouped = x.reshape(groups, channels // groups, height, width)
    return grouped.transpose(0, 1).reshape(1, channels, height, width)


def infer(exported: Exported, prepared: Prepared, *, threads: int = 1, optimised: bool = True) -> Logits:
    """Logits of the package in torch, not of Core ML itself. `optimised=False` sums in double precision."""
    return read(exported.files, prepared, precise=not optimised)


@contextmanager
def quiet() -> Iterator[None]:
    """Hides what coremltools prints: at import that this is no Mac, at each conversion which versions it was not tested with."""
    logger = logging.getLogger("coremltools")
    level, logger.disabled = logger.level, True
    root = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):  # its progress bars
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(root)
        logger.disabled = False
        logger.setLevel(level)
