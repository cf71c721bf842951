"""Finds the layer that a runtime lacks: it cuts the network shorter until it can be exported; the layer after the cut is the one.

An exporter's error names an internal operator (`aten::erfinv`, a node number), which the author of the network does not know.
Halving finds the layer by its name in the torch module, for every exporter, in as many attempts as the number of layers has
binary digits.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import fx

from littoral.errors import RuntimeFailure

Attempt = Callable[[fx.GraphModule], object]
"""Exports a network, or raises RuntimeFailure."""


def layer_lacking(network: fx.GraphModule, shape: tuple[int, ...], attempt: Attempt) -> str:
    """The first layer with which `attempt` fails: its name in the module, its class, and the function that it calls.

    Args:
        network: traced, as `folded` returns it; `attempt` fails with all of it.
        shape: of one input, without the batch.
    """
    run = _Recorder(network)
    try:
        with torch.inference_mode():
            run.run(torch.zeros(2, *shape))
    except (RuntimeError, ValueError, TypeError, IndexError):
        return _called(network, run.at)  # it does not run in torch either
    whole, failing = 0, len(run.tensors) - 1  # up to `whole` it can be exported, with the one at `failing` not
    while whole < failing:
        middle = (whole + failing) // 2
        try:
            attempt(_cut_after(network, run.tensors[middle]))
        except RuntimeFailure:
            failing = middle
        else:
            whole = middle + 1
    return _called(network, run.tensors[failing])


class _Recorder(fx.Interpreter):
    """Runs a network, and notes in order the nodes that return a tensor, and the current node."""

    def __init__(self, network: fx.GraphModule) -> None:
        super().__init__(network)
        self.tensors: list[fx.Node] = []
        self.at = next(iter(network.graph.nodes))

    def run_node(self, n: fx.Node) -> Any:
        self.at = n
        given = super().run_node(n)
        if isinstance(given, torch.Tensor) and n.op in ("call_module", "call_function", "call_method"):
            self.tensors.append(n)
        return given


def _cut_after(network: fx.GraphModule, last: fx.Node) -> fx.GraphModule:
    """The network from its input to this node, whose tensor becomes the output."""
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in network.graph.nodes:
        copies[node] = graph.node_copy(node, copies.__getitem__)
        if node is last:
            break
    graph.output(copies[last])
    return fx.GraphModule(network, graph).eval()


def _called(network: fx.GraphModule, node: fx.Node) -> str:
    if node.op == "call_module":
        return f"{node.target!r} ({type(network.get_submodule(str(node.target))).__name__})"
    if node.target is operator.getitem and isinstance(node.args[0], fx.Node):
        node = node.args[0]  # one of several tensors that a function returned
    function = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
    owners = list(node.meta.get("nn_module_stack", {}).values())
    if not owners:
        return f"{function!r} in the network's own forward"
    path, kind = owners[-1]
    return f"{path!r} ({getattr(kind, '__name__', kind)}, which calls {function})"
