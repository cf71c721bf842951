"""LeNet-5 as Caffe has it: two 5x5 convolutions, each max-pooled, and two fully connected layers.

Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-based learning applied to document recognition, Proc. IEEE 86(11), 1998,
https://doi.org/10.1109/5.726791 (section II-B); here the 20-50-500 form of Caffe (examples/mnist/lenet.prototxt), which S. Han,
H. Mao, W. J. Dally prune: Deep Compression, ICLR 2016, https://arxiv.org/abs/1510.00149 (table 3; 431,080 parameters at 28x28,
1,720 KB). As there, the one rectifier stands after fc1, and pooling rounds up, so an odd edge is not lost.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from littoral.architectures.layers import pooled
from littoral.architectures.parameters import whole, widths_of
from littoral.errors import BadInput

SMALL = {"maps": (6, 16), "hidden": 32}

_KERNEL = 5
_PADDED = 2


class LeNet5(nn.Module):
    def __init__(
        self, channels: int, size: tuple[int, int], classes: int, maps: Sequence[int], hidden: int, padding: int
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, maps[0], _KERNEL, padding=padding)
        self.pool1, size = pooled(2, _convolved(size, padding))
        self.conv2 = nn.Conv2d(maps[0], maps[1], _KERNEL, padding=padding)
        self.pool2, size = pooled(2, _convolved(size, padding))
        self.fc1 = nn.Linear(maps[1] * size[0] * size[1], hidden)
        self.relu1 = nn.ReLU()
        self.fc2 = nn.Linear(hidden, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = self.pool2(self.conv2(self.pool1(self.conv1(x))))
        logits: torch.Tensor = self.fc2(self.relu1(self.fc1(features.flatten(1))))
        return logits


def _convolved(size: tuple[int, int], padding: int) -> tuple[int, int]:
    return size[0] + 2 * padding - _KERNEL + 1, size[1] + 2 * padding - _KERNEL + 1


def _least(padding: int) -> int:
    """The smallest side of which both convolutions and the pool between them leave something."""
    second = max(1, _KERNEL - 2 * padding)  # what the second convolution must be given
    return max(1, 2 * second - 1 + _KERNEL - 1 - 2 * padding)


def build(
    *,
    channels: int,
    height: int,
    width: int,
    classes: int,
    maps: Sequence[int] = (20, 50),
    hidden: int = 500,
    padding: int | None = None,
) -> nn.Module:
    """`maps`: channels after each convolution; `hidden`: units of fc1; pruning of whole channels leaves fewer of both.

    `padding`: zeros around what each convolution sees, 0 to 2; by default none, as in the paper, but 2 for inputs below 13
    pixels, of which two 5x5 kernels would leave nothing.

    Raises:
        BadInput: a parameter is wrong, or with this padding nothing of the input is left; names the field.
    """
    first, second = widths_of("maps", maps, least=2, most=2)
    if padding is None:
        padding = 0 if min(height, width) >= _least(0) else _PADDED
    least = _least(whole("padding", padding, least=0, most=_PADDED))
    for field, size in (("height", height), ("width", width)):
        if size < least:
            raise BadInput(
                f"{field}: {size} is too small for lenet5 with padding {padding}", hint=f"{least} pixels, or padding {_PADDED}"
            )
    return LeNet5(channels, (height, width), classes, (first, second), whole("hidden", hidden), padding)
