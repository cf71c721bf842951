"""Builds a network without the channels that pruning took out: its architecture, with some layers of a smaller size.

The result of littoral_cloud.compression.channel_pruning (G. Fang et al.: DepGraph: Towards Any Structural Pruning, CVPR 2023,
https://arxiv.org/abs/2301.12900) has no width in its architecture's own parameters. So the spec has the sizes layer by layer,
under "pruned": {layer name: [out, in, groups] of a convolution, [out, in] of a linear layer, [channels] of a norm}. Specs come
from files, manifests and the wire: sizes may only shrink, and the whole must fit together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from littoral.architectures.layers import convolution_like
from littoral.architectures.parameters import whole
from littoral.errors import BadInput

FIELD = "pruned"


def size_of(layer: nn.Module) -> list[int] | None:
    """The size of a layer as in a spec; None for a layer without one."""
    if isinstance(layer, nn.Conv2d):
        return [layer.out_channels, layer.in_channels, layer.groups]
    if isinstance(layer, nn.Linear):
        return [layer.out_features, layer.in_features]
    if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
        return [layer.num_features]
    return None


def sizes_of(network: nn.Module, base: nn.Module) -> dict[str, list[int]]:
    """For a spec: the sizes of the layers of a pruned network that differ from `base`."""
    before = {name: size_of(layer) for name, layer in base.named_modules()}
    sizes = {name: size for name, layer in network.named_modules() if (size := size_of(layer)) is not None}
    return {name: size for name, size in sizes.items() if size != before[name]}


def resized(network: nn.Module, sizes: Any, shape: tuple[int, int, int], classes: int) -> nn.Module:
    """The network with new layers of these sizes, the same in all else.

    Args:
        network: as its architecture builds it; this changes it.
        sizes: from a spec, not checked yet.
        shape: of one input.

    Raises:
        BadInput: no mapping, an unknown layer, a size that is none or larger than it was, sizes that do not fit together.
    """
    if not isinstance(sizes, Mapping):
        raise BadInput(f"architecture.{FIELD}: {sizes!r:.80} must map layer names to sizes")
    layers = {name: (layer, size) for name, layer in network.named_modules() if (size := size_of(layer)) is not None}
    for name, given in sizes.items():
        at = f"{FIELD}.{name!s:.80}"
        if name not in layers:
            raise BadInput(f"architecture.{at}: there is no such layer", hint="convolutions, linear layers and norms have sizes")
        layer, before = layers[name]
        if not isinstance(given, list | tuple) or len(given) != len(before):
            raise BadInput(f"architecture.{at}: {given!r:.80} must be {len(before)} whole numbers")
        size = [whole(at, number, most=most) for number, most in zip(given, before, strict=True)]
        if isinstance(layer, nn.Conv2d) and (size[0] % size[2] or size[1] % size[2]):
            raise BadInput(f"architecture.{at}: {size[2]} groups do not divide {size[0]} and {size[1]} channels")
        network.set_submodule(name, _like(layer, size))
    _fits(network, shape, classes)
    return network


def _like(layer: nn.Module, size: list[int]) -> nn.Module:
    if isinstance(layer, nn.Conv2d):
        return convolution_like(layer, size)
    if isinstance(layer, nn.Linear):
        return nn.Linear(size[1], size[0], bias=layer.bias is not None)
    assert isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)
    make: Callable[..., nn.Module] = type(layer)
    return make(size[0], layer.eps, layer.momentum, layer.affine, layer.track_running_stats)


def _fits(network: nn.Module, shape: tuple[int, int, int], classes: int) -> None:
    """Runs it on shapes alone, without numbers."""
    state = {name: tensor.to("meta") for name, tensor in network.state_dict().items()}
    training = network.training
    network.eval()
    try:
        with torch.no_grad():
            answer = torch.func.functional_call(network, state, (torch.empty(1, *shape, device="meta"),))
    except (RuntimeError, ValueError) as error:
        raise BadInput(f"architecture.{FIELD}: the sizes do not fit together: {str(error)[:200]}") from error
    network.train(training)
    if answer.shape != (1, classes):
        raise BadInput(f"architecture.{FIELD}: the network would give {tuple(answer.shape[1:])}, not {classes} logits")
