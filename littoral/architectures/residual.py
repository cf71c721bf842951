"""Residual blocks: two 3x3 convolutions learn what to add to their own input. A teacher that can be deep.

K. He, X. Zhang, S. Ren, J. Sun: Deep Residual Learning for Image Recognition, 2015, https://arxiv.org/abs/1512.03385 (basic
blocks; by default the 20-layer net of section 4.2). Where a stage halves the image, the shortcut averages, then mixes channels:
ResNet-D of T. He et al.: Bag of Tricks for Image Classification with Convolutional Neural Networks, 2018,
https://arxiv.org/abs/1812.01187 (section 4.1), with a 3x3 average, which every runtime cuts the same way at an odd edge.

The paper's own shortcut, a 1x1 convolution with a stride of 2, is not built: with few channels, channels last, it corrupts the
heap in torch 2.13's backward pass on the CPU.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import nn

from littoral.architectures.layers import Chain, halved, stem_of
from littoral.architectures.parameters import depths_of, widths_of

SMALL = {"widths": (12, 24, 32), "depths": (1, 1, 1), "stem_stride": 2}


class ResidualBlock(nn.Module):
    """From `before` to `after` channels; halves height and width (rounding up) at a stride of 2."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(after)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(after)
        self.relu2 = nn.ReLU()
        shortcut: OrderedDict[str, nn.Module] = OrderedDict()
        if stride != 1:
            shortcut["mean"] = halved()
        if before != after:
            shortcut["conv"] = nn.Conv2d(before, after, 1, bias=False)
            shortcut["norm"] = nn.BatchNorm2d(after)
        self.shortcut = nn.Sequential(shortcut)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        learnt = self.norm2(self.conv2(self.relu1(self.norm1(self.conv1(x)))))
        out: torch.Tensor = self.relu2(learnt + self.shortcut(x))
        return out


class Residual(Chain):
    """A stem, and stages of residual blocks."""


def build(
    *,
    channels: int,
    height: int,
    width: int,
    classes: int,
    widths: Sequence[int] = (16, 32, 64),
    depths: Sequence[int] = (3, 3, 3),
    stem_kernel: int = 3,
    stem_stride: int = 1,
    stem_pool: bool = False,
) -> nn.Module:
    """`widths`, `depths`: channels and blocks of each stage, of which all but the first halve the image; `stem_kernel`, odd, from
    3, and `stem_stride`, 1 or 2: of the first convolution; `stem_pool`: max-pooling after it.

    For 224x224 the paper has widths 64, 128, 256, 512, a 7x7 stem with a stride of 2 and pooling; depths 2, 2, 2, 2 are its 18
    layers, 3, 4, 6, 3 its 34.
    """
    wide = widths_of("widths", widths, most=8)
    deep = depths_of(depths, wide, "blocks")
    stem = stem_of(channels, wide[0], kernel=stem_kernel, stride=stem_stride, pool=stem_pool)
    blocks: OrderedDict[str, nn.Module] = OrderedDict()
    before = wide[0]
    for i, (after, depth) in enumerate(zip(wide, deep, strict=True), 1):
        for j in range(1, depth + 1):
            blocks[f"stage{i}_block{j}"] = ResidualBlock(before, after, stride=2 if i > 1 and j == 1 else 1)
            before = after
    return Residual({"stem": stem, "blocks": nn.Sequential(blocks)}, before, classes)
