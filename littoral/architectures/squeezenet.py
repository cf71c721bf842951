"""Fire modules: squeeze to few channels with 1x1, expand with 1x1 and 3x3 side by side; no linear layer at the end.

F. N. Iandola et al.: SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size, 2016,
https://arxiv.org/abs/1602.07360 (table 1, the plain network). The defaults are the paper's net for 224x224, 1,248,424 parameters;
its authors' version 1.1 has stem 64, stem_kernel 3, pools 1, 3, 5. Small nets learn better with `norm`, which the paper has not.
There is no rectifier after the last convolution: it would cut every logit at 0.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import nn

from littoral.architectures.layers import pooled
from littoral.architectures.parameters import chance, odd, switch, whole, widths_of
from littoral.errors import BadInput

SMALL = {"stem": 16, "stem_kernel": 3, "expands": (16, 32, 48), "ratio": 4, "pools": (1, 3), "norm": True, "dropout": 0.0}

_POOLED = 3  # pixels that a pooling looks at, in steps of two


class Fire(nn.Module):
    """From `before` channels to 2 * `expand`."""

    def __init__(self, before: int, squeeze: int, expand: int, norm: bool) -> None:
        super().__init__()
        self.squeeze = nn.Sequential(_convolution(before, squeeze, 1, norm))
        self.relu_squeeze = nn.ReLU()
        self.expand1 = nn.Sequential(_convolution(squeeze, expand, 1, norm))
        self.expand3 = nn.Sequential(_convolution(squeeze, expand, 3, norm, padding=1))
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        squeezed = self.relu_squeeze(self.squeeze(x))
        out: torch.Tensor = self.relu(torch.cat([self.expand1(squeezed), self.expand3(squeezed)], 1))
        return out


def _convolution(
    before: int, after: int, kernel: int, norm: bool, *, stride: int = 1, padding: int = 0
) -> OrderedDict[str, nn.Module]:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["conv"] = nn.Conv2d(before, after, kernel, stride=stride, padding=padding, bias=not norm)
    if norm:
        layers["norm"] = nn.BatchNorm2d(after)
    return layers


class SqueezeNet(nn.Module):
    def __init__(self, features: nn.Module, before: int, dropout: float, classes: int) -> None:
        super().__init__()
        self.features = features
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.classify = nn.Conv2d(before, classes, 1)
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.pool(self.classify(self.dropout(self.features(x)))).flatten(1)
        return logits


def build(
    *,
    channels: int,
    height: int,
    width: int,
    classes: int,
    stem: int = 96,
    stem_kernel: int = 7,
    stem_stride: int = 2,
    expands: Sequence[int] = (64, 64, 128, 128, 192, 192, 256, 256),
    ratio: int = 8,
    pools: Sequence[int] = (1, 4, 8),
    norm: bool = False,
    dropout: float = 0.5,
) -> nn.Module:
    """`stem`, `stem_kernel`, odd, from 3, and `stem_stride`: channels, size and stride of the first convolution; `expands`: of
    each half of each fire module; `ratio`: how many times fewer channels the squeeze has than the module gives; `pools`: after
    which layers, where 1 is the stem and 2 the first fire module; `norm`: batch normalisation after each convolution;
    `dropout`: before the last one.

    Raises:
        BadInput: a parameter is wrong, or the input too small for the stem; names the field.
    """
    kernel, stride = odd("stem_kernel", stem_kernel, least=3), whole("stem_stride", stem_stride, most=2)
    wide, less, normed = widths_of("expands", expands), whole("ratio", ratio, most=64), switch("norm", norm)
    after = widths_of("pools", pools, least=0)
    if after and max(after) > len(wide) + 1:
        raise BadInput(f"architecture.pools: {max(after)} is after the last of {len(wide) + 1} layers")
    padding = kernel // 2 - 1  # of 224 pixels a 7x7 leaves 111, as in table 1
    for field, size in (("height", height), ("width", width)):
        if size + 2 * padding < kernel:
            raise BadInput(f"{field}: {size} is too small for squeezenet's stem", hint=f"at least {kernel - 2 * padding} pixels")
    left = ((height + 2 * padding - kernel) // stride + 1, (width + 2 * padding - kernel) // stride + 1)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["stem"] = nn.Sequential(_convolution(channels, whole("stem", stem), kernel, normed, stride=stride, padding=padding))
    layers["relu_stem"] = nn.ReLU()
    before = stem
    for i, expand in enumerate((None, *wide), 1):
        if expand is not None:
            layers[f"fire{i}"] = Fire(before, max(2, 2 * expand // less), expand, normed)
            before = 2 * expand
        if i in after:
            layers[f"pool{i}"], left = pooled(_POOLED, left)
    return SqueezeNet(nn.Sequential(layers), before, chance("dropout", dropout), classes)
