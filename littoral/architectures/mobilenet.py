"""Depthwise separable convolutions: one 3x3 filter a channel, then a 1x1 mix of channels.

A. G. Howard et al.: MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications, 2017,
https://arxiv.org/abs/1704.04861 (section 3.1; `multiplier` is its alpha). Cut for small inputs: a 5x5 stem, and only
as many halvings as `strides` names.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import nn

from littoral.architectures.parameters import factor, whole, widths_of
from littoral.errors import BadInput

SMALL: dict[str, int] = {}


def separable(before: int, after: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            depthwise=nn.Conv2d(before, before, 3, stride=stride, padding=1, groups=before, bias=False),
            norm_depthwise=nn.BatchNorm2d(before),
            relu_depthwise=nn.ReLU(),
            pointwise=nn.Conv2d(before, after, 1, bias=False),
            norm_pointwise=nn.BatchNorm2d(after),
            relu_pointwise=nn.ReLU(),
        )
    )


class MobileNet(nn.Module):
    def __init__(self, channels: int, classes: int, stem: int, widths: Sequence[int], strides: Sequence[int]) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            OrderedDict(
                conv=nn.Conv2d(channels, stem, 5, stride=2, padding=2, bias=False), norm=nn.BatchNorm2d(stem), relu=nn.ReLU()
            )
        )
        blocks: OrderedDict[str, nn.Module] = OrderedDict()
        before = stem
        for i, (after, stride) in enumerate(zip(widths, strides, strict=True), 1):
            blocks[f"block{i}"] = separable(before, after, stride)
            before = after
        self.blocks = nn.Sequential(blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classify = nn.Linear(before, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classify(self.pool(self.blocks(self.stem(x))).flatten(1))
        return logits


def build(
    *,
    channels: int,
    height: int,
    width: int,
    classes: int,
    stem: int = 16,
    widths: Sequence[int] = (32, 64, 64),
    strides: Sequence[int] = (2, 2, 1),
    multiplier: float = 1.0,
) -> nn.Module:
    """`stem`, `widths`: channels after the stem and after each block, before `multiplier`; `strides`: of each block, 1 or 2."""
    scale = factor("multiplier", multiplier)
    wide = [max(4, round(w * scale)) for w in (whole("stem", stem), *widths_of("widths", widths))]
    steps = widths_of("strides", strides)
    if len(steps) != len(wide) - 1 or max(steps) > 2:
        raise BadInput(f"architecture.strides: {list(steps)} must hold a 1 or a 2 for each of {len(wide) - 1} widths")
    return MobileNet(channels, classes, wide[0], wide[1:], steps)
