"""LeNet-300-100: two hidden layers of 300 and 100 units, no convolution; the net that pruning papers are measured on.

Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-based learning applied to document recognition, Proc. IEEE 86(11), 1998,
https://doi.org/10.1109/5.726791 (section III-C); here as S. Han, H. Mao, W. J. Dally prune it: Deep Compression, ICLR 2016,
https://arxiv.org/abs/1510.00149 (table 2; rectifiers, 266,610 parameters at 28x28, 1,070 KB).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from littoral.architectures.parameters import widths_of

TAKES = ("images", "table", "series")
SMALL = {"hidden": (48, 24)}


class LeNet300100(nn.Module):
    def __init__(self, inputs: int, classes: int, first: int, second: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(inputs, first)
        self.relu1 = nn.ReLU()
        self.fc2 = nn.Linear(first, second)
        self.relu2 = nn.ReLU()
        self.fc3 = nn.Linear(second, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.relu1(self.fc1(x.flatten(1)))
        logits: torch.Tensor = self.fc3(self.relu2(self.fc2(hidden)))
        return logits


def build(*, channels: int, height: int, width: int, classes: int, hidden: Sequence[int] = (300, 100)) -> nn.Module:
    """`hidden`: units of the two hidden layers; pruning of whole units leaves fewer."""
    first, second = widths_of("hidden", hidden, least=2, most=2)
    return LeNet300100(channels * height * width, classes, first, second)
