"""Three fully connected layers: the smallest thing that learns, and a baseline for the others.

D. E. Rumelhart, G. E. Hinton, R. J. Williams: Learning representations by back-propagating errors, Nature 323, 1986,
https://doi.org/10.1038/323533a0; the rectifier: X. Glorot, A. Bordes, Y. Bengio, AISTATS 2011,
https://proceedings.mlr.press/v15/glorot11a.html.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from littoral.architectures.parameters import widths_of

SMALL = {"widths": (48, 24)}


class Perceptron(nn.Module):
    def __init__(self, inputs: int, classes: int, first: int, second: int) -> None:
        super().__init__()
        self.layer1 = nn.Linear(inputs, first)
        self.relu1 = nn.ReLU()
        self.layer2 = nn.Linear(first, second)
        self.relu2 = nn.ReLU()
        self.classify = nn.Linear(second, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.relu2(self.layer2(self.relu1(self.layer1(x.flatten(1)))))
        logits: torch.Tensor = self.classify(hidden)
        return logits


def build(*, channels: int, height: int, width: int, classes: int, widths: Sequence[int] = (64, 32)) -> nn.Module:
    """`widths`: units of the two hidden layers."""
    first, second = widths_of("widths", widths, least=2, most=2)
    return Perceptron(channels * height * width, classes, first, second)
