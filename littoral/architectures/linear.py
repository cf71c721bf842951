"""One linear layer: multinomial logistic regression, the plain baseline, and often all that a small table needs.

D. R. Cox: The Regression Analysis of Binary Sequences, Journal of the Royal Statistical Society B 20, 1958,
https://doi.org/10.1111/j.2517-6161.1958.tb00292.x. Its weights can be solved for instead of trained: `lbfgs` in
littoral_cloud.training.trainer.
"""

from __future__ import annotations

import torch
from torch import nn

TAKES = ("images", "table", "series")
SMALL: dict[str, object] = {}


class Linear(nn.Module):
    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.classify = nn.Linear(inputs, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classify(x.flatten(1))
        return logits


def build(*, channels: int, height: int, width: int, classes: int) -> nn.Module:
    """Every input value has a weight for each class."""
    return Linear(channels * height * width, classes)
