"""Inverted residuals: few channels between blocks; each block widens them, filters each channel, and narrows them again without a
rectifier, which would lose information of few channels.

M. Sandler, A. Howard, M. Zhu, A. Zhmoginov, L.-C. Chen: MobileNetV2: Inverted Residuals and Linear Bottlenecks, 2018,
https://arxiv.org/abs/1801.04381 (table 2). The defaults are the paper's net for 224x224: 3.4 million parameters, 300 million
multiply-accumulates. Smaller images want fewer blocks and halvings: see SMALL.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import nn

from littoral.architectures.layers import Chain, shrunk, stem_of, unit
from littoral.architectures.parameters import factor, scaled, whole, widths_of
from littoral.errors import BadInput

SMALL = {"stem": 12, "stem_kernel": 5, "blocks": ((1, 8, 1, 1), (4, 16, 2, 2), (4, 24, 2, 2)), "last": 64}

# Expansion, channels, repetitions, stride of the first.
_BLOCKS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


class Bottleneck(nn.Module):
    """From `before` to `after` channels, through `expansion` times `before`."""

    def __init__(self, before: int, after: int, expansion: int, stride: int) -> None:
        super().__init__()
        inside = before * expansion
        self.adds = stride == 1 and before == after
        # The first block does not widen, and so has no 1x1 convolution before its filters.
        self.expand = nn.Sequential(unit(before, inside, 1, active=nn.ReLU6()) if expansion > 1 else OrderedDict())
        self.depthwise = nn.Sequential(unit(inside, inside, 3, stride=stride, groups=inside, active=nn.ReLU6()))
        self.project = nn.Sequential(unit(inside, after, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.project(self.depthwise(self.expand(x)))
        return x + out if self.adds else out


class MobileNetV2(Chain):
    """A stem, bottlenecks, and a last 1x1 convolution."""


def build(
    *,
    channels: int,
    height: int,
    width: int,
    classes: int,
    stem: int = 32,
    stem_kernel: int = 3,
    stem_stride: int = 2,
    blocks: Sequence[Sequence[int]] = _BLOCKS,
    last: int = 1280,
    multiplier: float = 1.0,
    resolution: float = 1.0,
) -> nn.Module:
    """`blocks`: rows of expansion, channels, repetitions and the first one's stride, as in table 2; `stem`, `last`: channels of
    the first and the last convolution; `multiplier`: of all channels, but of the last one's only where it is over 1 (section
    6.1); `stem_kernel`, odd, from 3, and `stem_stride`: of the first convolution; `resolution`: of the input, up to 1."""
    scale = factor("multiplier", multiplier)
    rows = [(t, scaled(c, scale), n, s) for t, c, n, s in _rows(blocks)]
    first, end = scaled(whole("stem", stem), scale), scaled(whole("last", last), max(1.0, scale))
    parts = {"shrink": shrunk(height, width, resolution)}
    parts["stem"] = stem_of(channels, first, kernel=stem_kernel, stride=stem_stride, active=nn.ReLU6())
    inner: OrderedDict[str, nn.Module] = OrderedDict()
    before = first
    for expansion, after, count, stride in rows:
        for i in range(count):
            inner[f"block{len(inner) + 1}"] = Bottleneck(before, after, expansion, stride if i == 0 else 1)
            before = after
    parts["blocks"] = nn.Sequential(inner)
    parts["last"] = nn.Sequential(unit(before, end, 1, active=nn.ReLU6()))
    return MobileNetV2(parts, end, classes)


def _rows(blocks: Sequence[Sequence[int]]) -> list[tuple[int, int, int, int]]:
    if not isinstance(blocks, list | tuple) or not 1 <= len(blocks) <= 32:
        raise BadInput(
            f"architecture.blocks: {blocks!r} must be a list of 1 to 32 rows", hint="expansion, channels, repetitions, stride"
        )
    rows = []
    for row in blocks:
        expansion, channels, count, stride = widths_of("blocks", row, least=4, most=4)
        rows.append(
            (whole("blocks", expansion, most=16), channels, whole("blocks", count, most=32), whole("blocks", stride, most=2))
        )
    return rows
