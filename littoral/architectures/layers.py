"""Layers that several architectures share."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

import torch
from torch import nn

from littoral.architectures.parameters import factor, odd, switch, whole


class Chain(nn.Module):
    """Layers one after another, the mean of each channel (or another `pool`), and a linear layer.

    Args:
        parts: by name, in their order.
        features: inputs of the linear layer.
    """

    def __init__(self, parts: Mapping[str, nn.Module], features: int, classes: int, *, pool: nn.Module | None = None) -> None:
        super().__init__()
        self._order = (*parts, "pool")
        for name, part in parts.items():
            self.add_module(name, part)
        self.pool = nn.AdaptiveAvgPool2d(1) if pool is None else pool
        self.classify = nn.Linear(features, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for name in self._order:
            x = self.get_submodule(name)(x)
        logits: torch.Tensor = self.classify(x.flatten(1))
        return logits


def unit(
    before: int, after: int, kernel: int, *, stride: int = 1, groups: int = 1, active: nn.Module | None = None
) -> OrderedDict[str, nn.Module]:
    """A convolution that keeps the size (at a stride of 1), its batch normalisation (S. Ioffe, C. Szegedy, 2015,
    https://arxiv.org/abs/1502.03167), and the activation, if there is one."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["conv"] = nn.Conv2d(before, after, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False)
    layers["norm"] = nn.BatchNorm2d(after)
    if active is not None:
        layers["relu"] = active
    return layers


def stem_of(
    channels: int, width: int, *, kernel: int, stride: int, pool: bool = False, active: nn.Module | None = None
) -> nn.Sequential:
    """The first convolution of a network with its norm, its activation (a rectifier by default), and 3x3 max-pooling in steps of
    two. Raises BadInput, naming stem_kernel, stem_stride or stem_pool."""
    size, step = odd("stem_kernel", kernel, least=3), whole("stem_stride", stride, most=2)
    layers = unit(channels, width, size, stride=step, active=active or nn.ReLU())
    if switch("stem_pool", pool):
        layers["pool"] = nn.MaxPool2d(3, stride=2, padding=1)
    return nn.Sequential(layers)


def convolution_like(
    layer: nn.Conv2d, size: Sequence[int], make: type[nn.Conv2d] = nn.Conv2d, device: str | None = None
) -> nn.Conv2d:
    """A new convolution of this size, (out, in, groups), and class; equal to `layer` in all else but the weights."""
    return make(
        size[1],
        size[0],
        layer.kernel_size,  # type: ignore[arg-type]  # torch calls it a tuple of any length
        stride=layer.stride,  # type: ignore[arg-type]
        padding=layer.padding,  # type: ignore[arg-type]
        dilation=layer.dilation,  # type: ignore[arg-type]
        groups=size[2],
        bias=layer.bias is not None,
        padding_mode=layer.padding_mode,
        device=device,
    )


def halved() -> nn.AvgPool2d:
    """Means over 3x3 pixels in steps of two, as in ShuffleNet's shortcut: halves height and width, rounding up. A 2x2 mean has
    half a window at an odd edge, which each runtime cuts differently."""
    return nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False)


def pooled(kernel: int, size: tuple[int, int]) -> tuple[nn.MaxPool2d, tuple[int, int]]:
    """Max-pooling of maps of this size in steps of two, rounding up as Caffe does; and the size of its output.

    No window is larger than the map: of 2 pixels under a 3x3 window ncnn makes 2 pixels, the second one -3e38, and torch and
    onnxruntime make 1.
    """
    window = min(kernel, size[0]), min(kernel, size[1])
    left = -(-(size[0] - window[0]) // 2) + 1, -(-(size[1] - window[1]) // 2) + 1
    return nn.MaxPool2d(window, stride=2, ceil_mode=True), left


def shrunk(height: int, width: int, resolution: float) -> nn.Module:
    """Scales the input to `resolution` times its height and width: MobileNet's resolution multiplier rho (section 3.4 of
    https://arxiv.org/abs/1704.04861), inside the network, so that the data need no change.

    Bilinear, after enough halvings by means that every pixel counts. Raises BadInput where it is not in (0, 1].
    """
    wanted = sides(height, width, resolution)
    if wanted == (height, width):
        return nn.Identity()
    steps: OrderedDict[str, nn.Module] = OrderedDict()
    while height > 2 * wanted[0] and width > 2 * wanted[1]:
        steps[f"mean{len(steps) + 1}"] = halved()
        height, width = -(-height // 2), -(-width // 2)
    steps["resize"] = nn.Upsample(size=wanted, mode="bilinear", align_corners=False)
    return nn.Sequential(steps)


def sides(height: int, width: int, resolution: float) -> tuple[int, int]:
    """Height and width in pixels after `shrunk`."""
    scale = factor("resolution", resolution, most=1.0)
    return max(1, round(height * scale)), max(1, round(width * scale))
