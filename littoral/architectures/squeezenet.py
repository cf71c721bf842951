"""Fire modules: squeeze to few channels with 1x1, expand with 1x1 and 3x3 side by side; no linear layer at the end.

F. N. Iandola et al.: SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size, 2016,
https://arxiv.org/abs/1602.07360 (section 3, the plain network). Cut for small inputs, with batch normalisation.

Pooling stays, as in the paper: a 1x1 convolution with a stride of 2 on few channels, channels last, corrupts the heap in torch
2.13's backward pass on the CPU.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import nn

from littoral.architectures.parameters import whole, widths_of

SMALL = {"stem": 16, "expands": (16, 32, 48), "ratio": 4}


class Fire(nn.Module):
    """From `before` channels to 2 * `expand`."""

    def __init__(self, before: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(before, squeeze, 1, bias=False)
        self.norm_squeeze = nn.BatchNorm2d(squeeze)
        self.relu_squeeze = nn.ReLU()
        self.expand1 = nn.Conv2d(squeeze, expand, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(expand)
        self.expand3 = nn.Conv2d(squeeze, expand, 3, padding=1, bias=False)
        self.norm3 = nn.BatchNorm2d(expand)
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        squeezed = self.relu_squeeze(self.norm_squeeze(self.squeeze(x)))
        both = torch.cat([self.norm1(self.expand1(squeezed)), self.norm3(self.expand3(squeezed))], 1)
        out: torch.Tensor = self.relu(both)
        return out


class SqueezeNet(nn.Module):
    def __init__(self, channels: int, classes: int, stem: int, expands: Sequence[int], ratio: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, stem, 3, stride=2, padding=1, bias=False)
        self.norm_stem = nn.BatchNorm2d(stem)
        self.relu_stem = nn.ReLU()
        fires: OrderedDict[str, nn.Module] = OrderedDict()
        before = stem
        for i, expand in enumerate(expands, 1):
            if i != 2:  # halved before the first and from the third on, as in version 1.1 of the paper's code
                fires[f"pool{i}"] = nn.MaxPool2d(3, stride=2, padding=1)
            fires[f"fire{i}"] = Fire(before, max(2, 2 * expand // ratio), expand)
            before = 2 * expand
        self.fires = nn.Sequential(fires)
        self.classify = nn.Conv2d(before, classes, 1)
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = self.fires(self.relu_stem(self.norm_stem(self.stem(x))))
        logits: torch.Tensor = self.pool(self.classify(features)).flatten(1)
        return logits


def build(
    *, channels: int, height: int, width: int, classes: int, stem: int = 16, expands: Sequence[int] = (16, 32, 48), ratio: int = 4
) -> nn.Module:
    """`stem`: channels after the first convolution; `expands`: of each half of each fire module; `ratio`: how many times fewer
    channels the squeeze has than the module gives."""
    return SqueezeNet(
        channels, classes, whole("stem", stem), widths_of("expands", expands, most=8), whole("ratio", ratio, most=64)
    )
