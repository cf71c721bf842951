"""How many multiply-accumulates a network costs for one input: what papers call MACs, mult-adds, and often FLOPs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

Counted = nn.Conv2d | nn.Linear
"""The layers that are counted: all the others together cost a few additions a value."""


def macs_of(module: nn.Module, shape: Sequence[int]) -> int:
    """Multiply-accumulates of the convolutions and linear layers for one input of this shape, (channels, height, width)."""
    return sum(macs_by_layer(module, shape).values())


def macs_by_layer(module: nn.Module, shape: Sequence[int]) -> dict[str, int]:
    """The same for each layer by its name, in the order in which they run. The network is left as it was.

    Counted on one input of zeros, on the device where the weights lie; on torch's "meta" device nothing is calculated.
    """
    macs: dict[str, int] = {}

    def count(name: str, layer: Counted, out: torch.Tensor) -> None:
        # Each value that comes out is one weighted sum over what its group of filters sees.
        each = layer.weight[0].numel()
        macs[name] = macs.get(name, 0) + out.numel() * each

    hooks = [
        layer.register_forward_hook(lambda layer, _given, out, name=name: count(name, layer, out))
        for name, layer in module.named_modules()
        if isinstance(layer, Counted)
    ]
    modes = [(layer, layer.training) for layer in module.modules()]
    first: Any = next(module.parameters(), torch.empty(0))
    try:
        module.eval()  # one input alone has no spread that a batch normalisation could learn from
        with torch.no_grad():
            module(torch.zeros(1, *shape, device=first.device, dtype=first.dtype))
    finally:
        for layer, training in modes:
            layer.training = training
        for hook in hooks:
            hook.remove()
    return macs
