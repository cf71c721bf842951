"""What every exporter gives, and the one signature that they share."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from littoral.errors import RuntimeFailure
from littoral.manifest import Input

Prepared = npt.NDArray[np.float32]  # (n, *input.shape), as manifest.Input.prepare gives it
Logits = npt.NDArray[np.float32]  # (n, classes)

OUTPUT_NAME = "logits"
"""Of the output tensor, in every format."""


@dataclass(frozen=True, slots=True)
class Exported:
    """One artifact: its files by bare name, and what a node must know to load them."""

    runtime: str  # "onnxruntime" or "ncnn"
    files: Mapping[str, bytes]
    runtime_options: Mapping[str, Any] = field(default_factory=dict)
    requires: Mapping[str, int] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        return sum(len(data) for data in self.files.values())


class Exporter(Protocol):
    """Makes an artifact of a trained network.

    Args:
        module: in evaluation mode; it is not changed.
        given: name and shape of the input.
        calibration: prepared training inputs, for those that choose ranges by them.

    Raises:
        RuntimeFailure: the network cannot be turned into this format.
    """

    def __call__(self, module: nn.Module, given: Input, *, calibration: Prepared) -> Exported: ...


def folded(module: nn.Module) -> fx.GraphModule:
    """A copy in evaluation mode with each batch normalisation folded into the convolution before it: the same function with
    fewer layers, plain strides in memory. Raises RuntimeFailure where what it does depends on the values that it is given."""
    try:
        graph = fx.symbolic_trace(copy.deepcopy(module).eval())
    except fx.proxy.TraceError as error:
        raise RuntimeFailure(
            f"export: {type(module).__name__} cannot be traced: {error}", hint="its forward must not branch on its input's values"
        ) from error
    layers = dict(graph.named_modules())
    for node in list(graph.graph.nodes):
        norm = layers.get(str(node.target)) if node.op == "call_module" else None
        before = node.args[0] if isinstance(norm, nn.BatchNorm2d) else None
        if not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) > 1:
            continue
        convolution = layers[str(before.target)]
        if isinstance(norm, nn.BatchNorm2d) and isinstance(convolution, nn.Conv2d):
            # fuse_conv_bn_eval copies; a copy in place keeps the layer's name, which pnnx needs.
            graph.set_submodule(str(before.target), fuse_conv_bn_eval(convolution, norm))
            node.replace_all_uses_with(before)
            graph.graph.erase_node(node)
    graph.delete_all_unused_submodules()
    graph.recompile()
    for parameter in graph.parameters():
        # contiguous() would keep the strides of channels last where a size is 1, and the exporters would then follow them.
        parameter.data = torch.empty(parameter.shape).copy_(parameter.data)
    return graph.eval()
