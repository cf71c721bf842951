"""Depthwise separable convolutions over time: one filter of a few steps for each channel, then a 1x1 mix of channels.

S. Majumdar, B. Ginsburg: MatchboxNet: 1D Time-Channel Separable Convolutional Neural Network Architecture for Speech Commands
Recognition, Interspeech 2020, https://arxiv.org/abs/2004.08531 (table 1). The defaults are MatchboxNet-3x1x64, for 64 channels
that change over time: blocks of `repeats` separable convolutions with a shortcut around each block. Few channels and short series
want fewer and smaller blocks: see SMALL.

Time is the width of an image with one row, so all that prunes, quantizes and exports 2-D convolutions works here too. Of an image
with more rows, each row of each channel is a channel.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from littoral.architectures.layers import Chain
from littoral.architectures.parameters import odd, whole, widths_of
from littoral.errors import BadInput

TAKES = ("series", "images")
SMALL = {"stem": 32, "stem_kernel": 5, "widths": (32, 32), "kernels": (7, 9), "last": (48,), "last_kernel": 7, "dilation": 1}


def separable(before: int, after: int, kernel: int, *, stride: int = 1, dilation: int = 1) -> OrderedDict[str, nn.Module]:
    """A separable convolution without a rectifier: a block adds its shortcut first."""
    side = (0, dilation * (kernel // 2))
    return OrderedDict(
        depthwise=nn.Conv2d(
            before, before, (1, kernel), stride=(1, stride), padding=side, dilation=(1, dilation), groups=before, bias=False
        ),
        pointwise=nn.Conv2d(before, after, 1, bias=False),
        norm=nn.BatchNorm2d(after),
    )


class DepthwiseBlock(nn.Module):
    """`repeats` separable convolutions, and a shortcut that is added before the last rectifier."""

    def __init__(self, before: int, after: int, kernel: int, repeats: int) -> None:
        super().__init__()
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        width = before
        for i in range(1, repeats + 1):
            layers[f"step{i}"] = nn.Sequential(separable(width, after, kernel))
            if i < repeats:
                layers[f"relu{i}"] = nn.ReLU()
            width = after
        self.steps = nn.Sequential(layers)
        self.shortcut = nn.Sequential(OrderedDict(conv=nn.Conv2d(before, after, 1, bias=False), norm=nn.BatchNorm2d(after)))
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        summed: torch.Tensor = self.relu(self.steps(x) + self.shortcut(x))
        return summed


class Depthwise1d(Chain):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.flatten(1, -2).unsqueeze(2))  # (n, channels, 1, steps)


def build(
    *,
    channels: int,
    height: int,
    width: int,
    classes: int,
    stem: int = 128,
    stem_kernel: int = 11,
    stem_stride: int = 2,
    widths: Sequence[int] = (64, 64, 64),
    kernels: Sequence[int] = (13, 15, 17),
    repeats: int = 1,
    last: Sequence[int] = (128, 128),
    last_kernel: int = 29,
    dilation: int = 2,
) -> nn.Module:
    """`stem`, `widths`, `last`: channels after the first convolution, after each block, and after the convolutions that end it,
    of which the first is separable and sees `last_kernel` steps `dilation` apart and the others are 1x1; `kernels`: steps that
    each block's filters see, odd; `repeats`: separable convolutions in a block; `stem_stride`: of the first convolution, 1 or
    2."""
    wide = widths_of("widths", widths)
    seen = widths_of("kernels", kernels)
    if len(seen) != len(wide):
        raise BadInput(f"architecture.kernels: {list(seen)} must hold one for each of {len(wide)} widths")
    seen = tuple(odd("kernels", kernel, most=255) for kernel in seen)
    ends = widths_of("last", last, most=4)
    many = whole("repeats", repeats, most=16)
    first = whole("stem", stem)
    kernel = odd("stem_kernel", stem_kernel, least=3, most=255)
    stride, gap = whole("stem_stride", stem_stride, most=2), whole("dilation", dilation, most=64)
    blocks: OrderedDict[str, nn.Module] = OrderedDict()
    before = first
    for i, (after, size) in enumerate(zip(wide, seen, strict=True), 1):
        blocks[f"block{i}"] = DepthwiseBlock(before, after, size, many)
        before = after
    ending = separable(before, ends[0], odd("last_kernel", last_kernel, most=255), dilation=gap)
    ending["relu"] = nn.ReLU()
    for i, (low, high) in enumerate(pairwise(ends), 2):
        ending[f"conv{i}"] = nn.Conv2d(low, high, 1, bias=False)
        ending[f"norm{i}"] = nn.BatchNorm2d(high)
        ending[f"relu{i}"] = nn.ReLU()
    begin = separable(channels * height, first, kernel, stride=stride)
    begin["relu"] = nn.ReLU()
    parts = {"stem": nn.Sequential(begin), "blocks": nn.Sequential(blocks), "ending": nn.Sequential(ending)}
    return Depthwise1d(parts, ends[-1], classes)
