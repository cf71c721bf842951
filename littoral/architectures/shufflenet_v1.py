"""Pointwise group convolutions, and a channel shuffle between them that mixes the groups.

X. Zhang, X. Zhou, M. Lin, J. Sun: ShuffleNet: An Extremely Efficient Convolutional Neural Network for Mobile Devices, 2017,
https://arxiv.org/abs/1707.01083 (table 1; figure 2 b and c). The defaults are the paper's 1x net with 3 groups for 224x224: 137
million multiply-accumulates. Smaller images want fewer units and halvings: see SMALL.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from littoral.architectures.layers import Chain, halved, stem_of, unit
from littoral.architectures.parameters import depths_of, factor, scaled, whole, widths_of
from littoral.errors import BadInput

SMALL = {"stem": 24, "stem_kernel": 5, "stem_pool": False, "widths": (72, 144), "depths": (2, 3)}

# Channels of stages 2 to 4 by the number of groups: about as many multiply-accumulates in each row.
_WIDTHS = {1: (144, 288, 576), 2: (200, 400, 800), 3: (240, 480, 960), 4: (272, 544, 1088), 8: (384, 768, 1536)}
_STEM_LEAST = 0.5  # the multiplier below which the stem does not shrink
_NARROWER = 4  # the bottleneck's channels are a quarter of the unit's


class ShuffleV1Unit(nn.Module):
    """From `before` to `after` channels. At a stride of 2 the averaged shortcut is concatenated with the `after - before`
    channels of the convolutions; at 1 it is added."""

    def __init__(self, before: int, after: int, groups: int, stride: int, first_groups: int) -> None:
        super().__init__()
        inside = after // _NARROWER
        self.halves = stride == 2
        self.squeeze = nn.Sequential(unit(before, inside, 1, groups=first_groups, active=nn.ReLU()))
        self.shuffle = nn.ChannelShuffle(groups) if groups > 1 else nn.Identity()
        self.depthwise = nn.Sequential(unit(inside, inside, 3, stride=stride, groups=inside))
        self.expand = nn.Sequential(unit(inside, after - before if self.halves else after, 1, groups=groups))
        self.shortcut = halved() if self.halves else nn.Identity()
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        learnt = self.expand(self.depthwise(self.shuffle(self.squeeze(x))))
        beside = self.shortcut(x)
        out: torch.Tensor = self.relu(torch.cat([beside, learnt], 1) if self.halves else beside + learnt)
        return out


class ShuffleNetV1(Chain):
    """A stem, and stages of units."""


def build(
    *,
    channels: int,
    height: int,
    width: int,
    classes: int,
    groups: int = 3,
    multiplier: float = 1.0,
    stem: int = 24,
    stem_kernel: int = 3,
    stem_stride: int = 2,
    stem_pool: bool = True,
    widths: Sequence[int] | None = None,
    depths: Sequence[int] = (4, 8, 4),
) -> nn.Module:
    """`groups`: of the pointwise convolutions; `widths`: channels of each stage, growing multiples of 4 * `groups`, by default
    the paper's for 1, 2, 3, 4 or 8 groups; `depths`: units of each stage, of which the first halves the image; `multiplier`: of
    all channels, of the stem's down to 0.5; `stem`, `stem_kernel`, odd, from 3, and `stem_stride`: of the first convolution;
    `stem_pool`: max-pooling after it."""
    scale, parts = factor("multiplier", multiplier), whole("groups", groups, most=64)
    if widths is None and parts not in _WIDTHS:
        raise BadInput(f"architecture.groups: the paper has no widths for {parts}", hint="1, 2, 3, 4 or 8, or give widths")
    wide = widths_of("widths", _WIDTHS[parts] if widths is None else widths, most=8)
    deep = depths_of(depths, wide, "units")
    multiple = _NARROWER * parts
    if any(w % multiple for w in wide):
        raise BadInput(f"architecture.widths: {list(wide)} must be multiples of {multiple}, 4 times the groups")
    # The 13 million of table 2 at 0.25x are those of a stem of 12 channels, as at 0.5x.
    first = max(1, int(whole("stem", stem) * max(scale, _STEM_LEAST)) // parts) * parts
    row = [first, *(scaled(w, scale, steps=multiple, least=multiple) for w in wide)]
    if any(after <= before for before, after in pairwise(row)):
        raise BadInput(f"architecture.widths: {row} after the stem must grow, as each stage puts its own beside what comes in")
    begin = stem_of(channels, first, kernel=stem_kernel, stride=stem_stride, pool=stem_pool)
    units: OrderedDict[str, nn.Module] = OrderedDict()
    before = first
    for stage, (after, depth) in enumerate(zip(row[1:], deep, strict=True), 2):
        for i in range(1, depth + 1):
            # The first pointwise convolution has too few channels for groups (section 3.2).
            units[f"stage{stage}_unit{i}"] = ShuffleV1Unit(before, after, parts, 2 if i == 1 else 1, parts if units else 1)
            before = after
    return ShuffleNetV1({"stem": begin, "units": nn.Sequential(units)}, before, classes)
