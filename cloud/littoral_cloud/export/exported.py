"""What all exporters share: the artifact, its options, and the network with folded norms."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch import fx, nn

from littoral.architectures.folded import folded as without_norms
from littoral.architectures.quantized import plain
from littoral.architectures.tracing import traced
from littoral.errors import BadInput, RuntimeFailure
from littoral.preparation import Input

Prepared = npt.NDArray[np.float32]  # (n, *input.shape), as preparation.Input.prepare gives it
Logits = npt.NDArray[np.float32]  # (n, classes)

OUTPUT_NAME = "logits"
"""The name of the output tensor in every format."""


@dataclass(frozen=True, slots=True)
class Exported:
    """An artifact: its files by bare name, and what a node needs to load them."""

    runtime: str  # of littoral_node.runtimes.REGISTRY
    files: Mapping[str, bytes]
    runtime_options: Mapping[str, Any] = field(default_factory=dict)
    requires: Mapping[str, int] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        return sum(len(data) for data in self.files.values())


@dataclass(frozen=True, slots=True)
class Calibration:
    """How static int8 finds the range of the values between layers: from `examples` training inputs, evenly over the data set.

    "minmax": the extremes. "entropy": the cut of the histogram that loses least information (S. Migacz, 8-bit Inference with
    TensorRT, 2017). "percentile": the range that holds `percentile` of the values.
    """

    method: Literal["minmax", "entropy", "percentile"] = "minmax"
    examples: int = 512
    percentile: float = 99.999

    def __post_init__(self) -> None:
        if self.examples < 1:
            raise BadInput(f"calibration.examples: {self.examples}", hint="at least 1; some hundred")
        if not 50 < self.percentile <= 100:
            raise BadInput(f"calibration.percentile: {self.percentile}", hint="over 50, at most 100")


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a recipe for writing artifacts."""

    opset: int = 18  # of ONNX
    ir: int = 9  # of ONNX files: old runtimes on devices refuse newer ones
    calibration: Calibration = Calibration()

    def __post_init__(self) -> None:
        if not 13 <= self.opset <= onnx.defs.onnx_opset_version():
            raise BadInput(
                f"opset: {self.opset}", hint=f"13 to {onnx.defs.onnx_opset_version()}; below 13 scales have no channels"
            )
        least = onnx.helper.find_min_ir_version_for([onnx.helper.make_opsetid("", self.opset)], ignore_unknown=True)
        if not least <= self.ir <= onnx.IR_VERSION:
            raise BadInput(f"ir: {self.ir} with opset {self.opset}", hint=f"{least} to {onnx.IR_VERSION}")


DEFAULTS = Options()


class Exporter(Protocol):
    """Makes an artifact of a trained network.

    Args:
        module: in evaluation mode; it is not changed.
        given: name and shape of the input.
        calibration: prepared training inputs, for those that choose ranges by them.
        options: what a recipe says of the file; exporters that it does not concern pass over it.

    Raises:
        RuntimeFailure: the network cannot be turned into this format.
    """

    def __call__(self, module: nn.Module, given: Input, *, calibration: Prepared, options: Options = DEFAULTS) -> Exported: ...


class Runner(Protocol):
    """Runs an artifact on prepared inputs, and gives its logits."""

    def __call__(self, exported: Exported, prepared: Prepared, *, threads: int = 1, optimised: bool = True) -> Logits: ...


def folded(module: nn.Module) -> fx.GraphModule:
    """A copy in evaluation mode with each batch norm folded into the layer before it: the same function with fewer layers,
    with plain strides in memory. A network trained for int8 keeps its weights on their grid and rounds no values.

    Raises RuntimeFailure where the operations of the network depend on its input.
    """
    try:
        graph = traced(without_norms(plain(copy.deepcopy(module).eval())))
    except fx.proxy.TraceError as error:
        raise RuntimeFailure(
            f"export: {type(module).__name__} cannot be traced: {error}", hint="its forward must not branch on its input's values"
        ) from error
    layers = dict(graph.named_modules())
    for node in list(graph.graph.nodes):
        if node.op == "call_module" and isinstance(layers[str(node.target)], nn.Identity):
            node.replace_all_uses_with(node.args[0])
            graph.graph.erase_node(node)
    graph.delete_all_unused_submodules()
    graph.recompile()
    return unstrided(graph.eval())


@contextmanager
def hushed(name: str | None = None) -> Iterator[None]:
    """Hides the warnings of a logger; None: of the root."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def unstrided(network: fx.GraphModule) -> fx.GraphModule:
    """Puts the parameters into plain order in memory, as exporters write them. Changes the network."""
    for parameter in network.parameters():
        # contiguous() keeps the strides of channels-last where a size is 1, and exporters would follow them.
        parameter.data = torch.empty(parameter.shape).copy_(parameter.data)
    return network
