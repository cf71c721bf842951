"""A chain of strided convolutions and one linear layer: no pooling between, so each step pays only for what it keeps.

J. T. Springenberg, A. Dosovitskiy, T. Brox, M. Riedmiller: Striving for Simplicity: The All Convolutional Net, ICLR 2015
workshop, https://arxiv.org/abs/1412.6806 (strides instead of pooling, averaging at the end); batch normalisation after each
convolution: S. Ioffe, C. Szegedy, https://arxiv.org/abs/1502.03167.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import nn

from littoral.architectures.layers import shrunk, sides
from littoral.architectures.parameters import odd, one_of, strides_of, widths_of

SMALL = {"widths": (16, 32, 48, 48)}


class CompactCnn(nn.Module):
    def __init__(
        self,
        shrink: nn.Module,
        channels: int,
        classes: int,
        widths: Sequence[int],
        strides: Sequence[int],
        stem: int,
        cells: int,
    ) -> None:
        super().__init__()
        self.shrink = shrink
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        before = channels
        for i, (after, stride) in enumerate(zip(widths, strides, strict=True), 1):
            kernel = stem if i == 1 else 3
            layers[f"conv{i}"] = nn.Conv2d(before, after, kernel, stride=stride, padding=kernel // 2, bias=False)
            layers[f"norm{i}"] = nn.BatchNorm2d(after)
            layers[f"relu{i}"] = nn.ReLU()
            before = after
        self.features = nn.Sequential(layers)
        # One cell: the mean of each channel. More: where in the image a feature lies still counts.
        self.pool = nn.AdaptiveAvgPool2d(1) if cells == 1 else nn.Identity()
        self.classify = nn.Linear(before * cells, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classify(self.pool(self.features(self.shrink(x))).flatten(1))
        return logits


def build(
    *,
    channels: int,
    height: int,
    width: int,
    classes: int,
    widths: Sequence[int] = (16, 32, 48, 64),
    strides: Sequence[int] | None = None,
    stem: int = 3,
    head: str = "mean",
    resolution: float = 1.0,
) -> nn.Module:
    """`widths`: channels after each convolution; `strides`: of each convolution, 1, or 2 which halves height and width (rounding
    up), by default all 2; `stem`: size of the first kernel, odd; `head`: what the linear layer sees, the "mean" of each channel
    or the whole "map"; `resolution`: of the input, up to 1."""
    wide = widths_of("widths", widths, most=8)
    kernel = odd("stem", stem)
    steps = (2,) * len(wide) if strides is None else strides_of("strides", strides, count=len(wide))
    whole_step = math.prod(steps)
    shrink, (high, across) = shrunk(height, width, resolution), sides(height, width, resolution)
    cells = 1 if one_of("head", head, ("mean", "map")) == "mean" else -(-high // whole_step) * -(-across // whole_step)
    return CompactCnn(shrink, channels, classes, wide, steps, kernel, cells)
