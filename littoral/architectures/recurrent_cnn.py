"""One convolution, used again and again: each step adds what the same 3x3 kernels see in what the step before left. Few weights,
much depth; it costs memory for one layer and time for all of them.

Q. Liao, T. Poggio: Bridging the Gaps Between Residual Learning, Recurrent Neural Networks and Visual Cortex, 2016,
https://arxiv.org/abs/1604.03640: a residual network whose layers share their weights, with a norm of its own for each step
(section 3). Between the shared kernels and each norm stands a scale for each channel, a 1x1 depthwise convolution, so that the
norm can be folded into something that no other step uses. At the end each channel weighs the places of its map, a global
depthwise convolution: S. Chen et al.: MobileFaceNets, 2018, https://arxiv.org/abs/1804.07573 (section 3.1).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from littoral.architectures.layers import pooled, shrunk, sides, unit
from littoral.architectures.parameters import odd, one_of, strides_of, whole

SMALL = {"maps": 16}


class RecurrentStep(nn.Module):
    """What is not shared: the pooling before it, if any, and what makes of the shared kernels' answer a step of its own."""

    def __init__(self, width: int, pool: nn.Module) -> None:
        super().__init__()
        self.pool = pool
        self.scale = nn.Conv2d(width, width, 1, groups=width, bias=False)
        nn.init.ones_(self.scale.weight)
        self.norm = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor, shared: nn.Module) -> torch.Tensor:
        x = self.pool(x)
        out: torch.Tensor = self.relu(x + self.norm(self.scale(shared(x))))
        return out


class RecurrentCnn(nn.Module):
    def __init__(
        self,
        shrink: nn.Module,
        channels: int,
        classes: int,
        width: int,
        stem: int,
        pools: Sequence[nn.Module],
        kernel: tuple[int, int] | None,
    ) -> None:
        super().__init__()
        self.shrink = shrink
        self.stem = nn.Sequential(unit(channels, width, stem, stride=2, active=nn.ReLU()))
        self.shared = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.steps = nn.ModuleDict({f"step{i}": RecurrentStep(width, pool) for i, pool in enumerate(pools, 1)})
        mean = nn.AdaptiveAvgPool2d(1)
        self.pool = mean if kernel is None else nn.Conv2d(width, width, kernel, groups=width, bias=False)
        self.classify = nn.Linear(width, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(self.shrink(x))
        for step in self.steps.values():
            x = step(x, self.shared)
        logits: torch.Tensor = self.classify(self.pool(x).flatten(1))
        return logits


def build(
    *,
    channels: int,
    height: int,
    width: int,
    classes: int,
    maps: int = 16,
    strides: Sequence[int] = (2, 1, 1, 2),
    stem: int = 5,
    head: str = "weighted",
    resolution: float = 1.0,
) -> nn.Module:
    """`maps`: channels everywhere; `strides`: a step each, 1, or 2 where 2x2 max-pooling comes before it; `stem`: size of the
    first kernel, odd, which halves height and width; `head`: what the linear layer sees of a map, its "mean" or a "weighted" one;
    `resolution`: of the input, up to 1."""
    kernel = odd("stem", stem)
    steps = strides_of("strides", strides)
    side = tuple(-(-pixels // 2) for pixels in sides(height, width, resolution))
    pools: list[nn.Module] = []
    for stride in steps:
        pool: nn.Module = nn.Identity()
        if stride == 2:
            pool, side = pooled(2, (side[0], side[1]))
        pools.append(pool)
    size = (side[0], side[1]) if one_of("head", head, ("mean", "weighted")) == "weighted" else None
    return RecurrentCnn(shrunk(height, width, resolution), channels, classes, whole("maps", maps, most=1024), kernel, pools, size)
