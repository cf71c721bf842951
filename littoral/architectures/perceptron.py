"""A few fully connected layers: the smallest thing that learns, and a baseline for the others.

D. E. Rumelhart, G. E. Hinton, R. J. Williams: Learning representations by back-propagating errors, Nature 323, 1986,
https://doi.org/10.1038/323533a0; the rectifier: X. Glorot, A. Bordes, Y. Bengio, AISTATS 2011,
https://proceedings.mlr.press/v15/glorot11a.html. Its formulas, forward and backward, stand in docs/perceptron_by_hand.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from littoral.architectures.parameters import one_of, widths_of

TAKES = ("images", "table", "series")
SMALL = {"widths": (48, 24)}

ACTIVATIONS = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}


class Perceptron(nn.Module):
    def __init__(self, inputs: int, classes: int, widths: Sequence[int], activation: str) -> None:
        super().__init__()
        make = ACTIVATIONS[activation]
        self.layer1 = nn.Linear(inputs, widths[0])
        self.active1 = make()
        self.layer2 = nn.Linear(widths[0], widths[1]) if len(widths) > 1 else nn.Identity()
        self.active2 = make() if len(widths) > 1 else nn.Identity()
        self.classify = nn.Linear(widths[-1], classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.active2(self.layer2(self.active1(self.layer1(x.flatten(1)))))
        logits: torch.Tensor = self.classify(hidden)
        return logits


def build(
    *, channels: int, height: int, width: int, classes: int, widths: Sequence[int] = (64, 32), activation: str = "relu"
) -> nn.Module:
    """`widths`: units of the one or two hidden layers; `activation`: what follows each of them, "relu", "sigmoid" or "tanh"."""
    wide = widths_of("widths", widths, least=1, most=2)
    return Perceptron(channels * height * width, classes, wide, one_of("activation", activation, tuple(ACTIVATIONS)))
