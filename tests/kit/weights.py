"""What pruning and weight sharing have made of a network's weights."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from littoral_cloud.compression.dependency_graph import layers_of


def sparsity_of(module: nn.Module) -> dict[str, float]:
    """The share of zeros in the weights of each convolution and linear layer."""
    return {name: float((layer.weight == 0).float().mean()) for name, layer in layers_of(module).items()}


def shared_values(parameters: Iterable[tuple[str, torch.Tensor]]) -> dict[str, int]:
    """The number of values other than 0 in each parameter."""
    return {name: len(torch.unique(p[p != 0])) for name, p in parameters}
