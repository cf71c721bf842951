"""A chain of strided convolutions and one linear layer: no pooling between, so each step pays only for what it keeps.

J. T. Springenberg, A. Dosovitskiy, T. Brox, M. Riedmiller: Striving for Simplicity: The All Convolutional Net, ICLR 2015
workshop, https://arxiv.org/abs/1412.6806 (strides instead of pooling, averaging at the end); batch normalisation after each
convolution: S. Ioffe, C. Szegedy, https://arxiv.org/abs/1502.03167.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from littoral.architectures.layers import Chain, shrunk, sides
from littoral.architectures.parameters import odd, one_of, strides_of, widths_of

SMALL = {"widths": (16, 32, 48, 48)}


class CompactCnn(Chain):
    """`features`: convolutions, each with its norm and rectifier."""


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
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    before = channels
    for i, (after, step) in enumerate(zip(wide, steps, strict=True), 1):
        size = kernel if i == 1 else 3
        layers[f"conv{i}"] = nn.Conv2d(before, after, size, stride=step, padding=size // 2, bias=False)
        layers[f"norm{i}"] = nn.BatchNorm2d(after)
        layers[f"relu{i}"] = nn.ReLU()
        before = after
    parts = {"shrink": shrunk(height, width, resolution), "features": nn.Sequential(layers)}
    if one_of("head", head, ("mean", "map")) == "mean":
        return CompactCnn(parts, before, classes)
    # Where in the image a feature lies counts.
    whole_step, (high, across) = math.prod(steps), sides(height, width, resolution)
    cells = -(-high // whole_step) * -(-across // whole_step)
    return CompactCnn(parts, before * cells, classes, pool=nn.Identity())
