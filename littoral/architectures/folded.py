"""Folds each batch norm after a layer into that layer, which then has a bias.

The same function with fewer layers (B. Jacob et al., https://arxiv.org/abs/1712.05877, section 3.2). Fold before quantizing:
weights on a grid or on shared values would leave these in the fold. In a spec it is "folded": true; an export then has nothing
left to fold, and a node loads exactly what was trained.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights

from littoral.architectures.pruned import FIELD as PRUNED
from littoral.architectures.pruned import size_of
from littoral.architectures.tracing import traced

FIELD = "folded"
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def folded(network: nn.Module) -> nn.Module:
    """Folds the norms and puts identities in their places; changes the network.

    A norm stays where it does not directly follow a convolution or linear layer that nothing else reads.
    """
    for layer, norm in list(pairs(network)):
        _fold(network, layer, norm)
    return network


def pairs(network: nn.Module) -> Iterator[tuple[str, str]]:
    """(layer, norm after it) by name."""
    graph = traced(network)
    layers = dict(graph.named_modules())
    for node in graph.graph.nodes:
        if node.op != "call_module" or not isinstance(layers[str(node.target)], _NORMS):
            continue
        before = node.args[0]
        if not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) > 1:
            continue
        if _fits(layers[str(before.target)], layers[str(node.target)]):
            yield str(before.target), str(node.target)


def folded_spec(spec: Mapping[str, Any], network: nn.Module) -> dict[str, Any]:
    """The spec of `folded(network)`, from the spec of the network before it; the same spec where nothing folds."""
    norms = {norm for _, norm in pairs(network)}
    if not norms:
        return dict(spec)
    after: dict[str, Any] = {**spec, FIELD: True}
    if PRUNED in after:  # a norm that is gone has no size
        after[PRUNED] = {name: size for name, size in after[PRUNED].items() if name not in norms}
    return after


def _fits(layer: nn.Module, norm: nn.Module) -> bool:
    if not isinstance(layer, nn.Conv2d | nn.Linear):
        return False
    wide = isinstance(norm, nn.BatchNorm2d) == isinstance(layer, nn.Conv2d)
    size = size_of(layer)
    return wide and size is not None and size[0] == norm.num_features and norm.running_var is not None


@torch.no_grad()
def _fold(network: nn.Module, name: str, norm_name: str) -> None:
    layer, norm = network.get_submodule(name), network.get_submodule(norm_name)
    assert isinstance(layer, nn.Conv2d | nn.Linear)
    assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
    fuse = cast(Any, fuse_conv_bn_weights if isinstance(layer, nn.Conv2d) else fuse_linear_bn_weights)
    scale = torch.ones_like(norm.running_var) if norm.weight is None else norm.weight
    shift = torch.zeros_like(scale) if norm.bias is None else norm.bias
    weight, bias = fuse(layer.weight, layer.bias, norm.running_mean, norm.running_var, norm.eps, scale, shift)
    # A negative scale would make -0 of zeros.
    layer.weight = nn.Parameter(weight.detach() + 0.0)
    layer.bias = nn.Parameter(bias.detach() + 0.0)
    network.set_submodule(norm_name, nn.Identity())
