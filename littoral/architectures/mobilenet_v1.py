"""Depthwise separable convolutions: one 3x3 filter a channel, then a 1x1 mix of channels.

A. G. Howard et al.: MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications, 2017,
https://arxiv.org/abs/1704.04861 (table 1; `multiplier` is its alpha, `resolution` its rho). The defaults are the paper's net for
224x224: 4.2 million parameters, 569 million multiply-accumulates. Smaller images want fewer blocks and halvings: see SMALL.

`between` = "nothing" leaves out norm and rectifier between the two, as F. Chollet found better: Xception, 2017,
https://arxiv.org/abs/1610.02357 (section 4.7). Once norms are folded, such a 3x3 filter has no bias.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from littoral.architectures.layers import Chain, shrunk, stem_of
from littoral.architectures.parameters import factor, one_of, scaled, strides_of, whole, widths_of

SMALL = {"stem": 16, "stem_kernel": 5, "widths": (32, 64, 64), "strides": (2, 2, 1)}

_WIDTHS = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
# Table 1 gives the last block a stride of 2, but the same 7x7 before and after it: it is 1, as in the authors' code.
_STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
BETWEEN = ("relu", "nothing")


def separable(before: int, after: int, stride: int, between: str = BETWEEN[0]) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["depthwise"] = nn.Conv2d(before, before, 3, stride=stride, padding=1, groups=before, bias=False)
    if between == "relu":
        layers["norm_depthwise"] = nn.BatchNorm2d(before)
        layers["relu_depthwise"] = nn.ReLU()
    layers["pointwise"] = nn.Conv2d(before, after, 1, bias=False)
    layers["norm_pointwise"] = nn.BatchNorm2d(after)
    layers["relu_pointwise"] = nn.ReLU()
    return nn.Sequential(layers)


class MobileNetV1(Chain):
    """A stem, and blocks of separable convolutions."""


def build(
    *,
    channels: int,
    height: int,
    width: int,
    classes: int,
    stem: int = 32,
    stem_kernel: int = 3,
    stem_stride: int = 2,
    widths: Sequence[int] = _WIDTHS,
    strides: Sequence[int] = _STRIDES,
    multiplier: float = 1.0,
    resolution: float = 1.0,
    between: str = BETWEEN[0],
) -> nn.Module:
    """`stem`, `widths`: channels after the stem and after each block, before `multiplier`; `stem_kernel`, odd, from 3, and
    `stem_stride`: of the first convolution; `strides`: of each block, 1 or 2; `resolution`: of the input, up to 1; `between`:
    what stands between a block's two convolutions."""
    scale = factor("multiplier", multiplier)
    first, *wide = (scaled(w, scale) for w in (whole("stem", stem), *widths_of("widths", widths)))
    steps = strides_of("strides", strides, count=len(wide))
    gap = one_of("between", between, BETWEEN)
    parts = {"shrink": shrunk(height, width, resolution)}
    parts["stem"] = stem_of(channels, first, kernel=stem_kernel, stride=stem_stride)
    blocks: OrderedDict[str, nn.Module] = OrderedDict()
    before = first
    for i, (after, step) in enumerate(zip(wide, steps, strict=True), 1):
        blocks[f"block{i}"] = separable(before, after, step, gap)
        before = after
    return MobileNetV1({**parts, "blocks": nn.Sequential(blocks)}, before, classes)
