"""A network without the batch normalisations that stand behind a layer: each is folded into that layer, which has a bias then.

The same function with fewer layers (B. Jacob et al., https://arxiv.org/abs/1712.05877, section 3.2), and the one to quantize:
what is rounded to a grid or to shared values before the fold would lie beside it afterwards. A spec says it as "folded": true;
there is then nothing left to fold at export, and what is trained is what a node loads.
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
    """The network, changed: identities in place of the norms that could be folded.

    One that stands elsewhere than right behind a convolution or linear layer that nothing else reads stays.
    """
    for layer, norm in list(pairs(network)):
        _fold(network, layer, norm)
    return network


def pairs(network: nn.Module) -> Iterator[tuple[str, str]]:
    """Names of each layer and the norm behind it."""
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
    """The spec of `folded(network)`, where `spec` is that of the network, not yet folded; the same spec where nothing folds."""
    norms = {norm for _, norm in pairs(network)}
    if not norms:
        return dict(spec)
    said: dict[str, Any] = {**spec, FIELD: True}
    if PRUNED in said:  # a norm that is gone has no size
        said[PRUNED] = {name: size for name, size in said[PRUNED].items() if name not in norms}
    return said


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
    # Zeros stay plain zeros: a scale below zero would make -0 of them.
    layer.weight = nn.Parameter(weight.detach() + 0.0)
    layer.bias = nn.Parameter(bias.detach() + 0.0)
    network.set_submodule(norm_name, nn.Identity())
