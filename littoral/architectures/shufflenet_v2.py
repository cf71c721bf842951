"""One half of the channels stays as it is, convolutions change the other half, and a shuffle mixes them: fast on real machines,
though not with the fewest multiplications.

N. Ma, X. Zhang, H.-T. Zheng, J. Sun: ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design, 2018,
https://arxiv.org/abs/1807.11164 (table 5; figure 3 c and d). The defaults are the paper's 1x net for 224x224: 2.3 million
parameters, 146 million multiply-accumulates. Smaller images want fewer units and halvings: see SMALL.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import nn

from littoral.architectures.layers import Chain, stem_of, unit
from littoral.architectures.parameters import depths_of, factor, whole, widths_of
from littoral.errors import BadInput

SMALL = {"stem": 12, "stem_kernel": 5, "stem_pool": False, "widths": (32, 64), "depths": (2, 2), "last": 64}

# Channels of stages 2 to 4 and of the last convolution, by the paper's complexity.
_WIDTHS = {0.5: (48, 96, 192, 1024), 1.0: (116, 232, 464, 1024), 1.5: (176, 352, 704, 1024), 2.0: (244, 488, 976, 2048)}


class ShuffleV2Unit(nn.Module):
    """`channels` in and out; the convolutions change the second half."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(_branch(channels // 2, channels // 2, 1))
        self.shuffle = nn.ChannelShuffle(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second = x.chunk(2, 1)
        out: torch.Tensor = self.shuffle(torch.cat([first, self.branch(second)], 1))
        return out


class HalvingUnit(nn.Module):
    """From `before` to `after` channels at half the height and width: convolutions make both halves of the output."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.aside = nn.Sequential(
            OrderedDict(
                depthwise=nn.Sequential(unit(before, before, 3, stride=2, groups=before)),
                pointwise=nn.Sequential(unit(before, after // 2, 1, active=nn.ReLU())),
            )
        )
        self.branch = nn.Sequential(_branch(before, after // 2, 2))
        self.shuffle = nn.ChannelShuffle(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.shuffle(torch.cat([self.aside(x), self.branch(x)], 1))
        return out


def _branch(before: int, after: int, stride: int) -> OrderedDict[str, nn.Module]:
    return OrderedDict(
        pointwise1=nn.Sequential(unit(before, after, 1, active=nn.ReLU())),
        depthwise=nn.Sequential(unit(after, after, 3, stride=stride, groups=after)),
        pointwise2=nn.Sequential(unit(after, after, 1, active=nn.ReLU())),
    )


class ShuffleNetV2(Chain):
    """A stem, stages of units, and a last 1x1 convolution."""


def build(
    *,
    channels: int,
    height: int,
    width: int,
    classes: int,
    multiplier: float = 1.0,
    stem: int = 24,
    stem_kernel: int = 3,
    stem_stride: int = 2,
    stem_pool: bool = True,
    widths: Sequence[int] | None = None,
    depths: Sequence[int] = (4, 8, 4),
    last: int | None = None,
) -> nn.Module:
    """`multiplier`: the paper's complexity, 0.5, 1, 1.5 or 2, which decides `widths`, even channels of each stage, and `last`, of
    the last convolution, unless they are given; `depths`: units of each stage, of which the first halves the image; `stem`,
    `stem_kernel`, odd, from 3, and `stem_stride`: of the first convolution; `stem_pool`: max-pooling after it."""
    row = _WIDTHS.get(factor("multiplier", multiplier))
    if row is None or (widths is not None and multiplier != 1):
        raise BadInput(f"architecture.multiplier: {multiplier} is not in the paper", hint="0.5, 1, 1.5 or 2; or 1 and widths")
    wide = widths_of("widths", row[:-1] if widths is None else widths, most=8)
    if any(w % 2 for w in wide):
        raise BadInput(f"architecture.widths: {list(wide)} must be even: a half of them passes by")
    deep = depths_of(depths, wide, "units")
    first, end = whole("stem", stem), whole("last", row[-1] if last is None else last)
    parts = {"stem": stem_of(channels, first, kernel=stem_kernel, stride=stem_stride, pool=stem_pool)}
    units: OrderedDict[str, nn.Module] = OrderedDict()
    before = first
    for stage, (after, depth) in enumerate(zip(wide, deep, strict=True), 2):
        for i in range(1, depth + 1):
            units[f"stage{stage}_unit{i}"] = HalvingUnit(before, after) if i == 1 else ShuffleV2Unit(after)
        before = after
    parts["units"] = nn.Sequential(units)
    parts["last"] = nn.Sequential(unit(before, end, 1, active=nn.ReLU()))
    return ShuffleNetV2(parts, end, classes)
