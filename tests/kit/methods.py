"""A way of making a network cheaper that fails, to be named in a recipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from littoral.errors import BadInput
from littoral_cloud.training.train import Trained
from littoral_cloud.training.trainer import Trainer


@dataclass(frozen=True, slots=True)
class Failing:
    @property
    def kind(self) -> str:
        return "failing"

    def resolved(self) -> dict[str, Any]:
        return {"kind": self.kind}

    def rehearsed(self, module: nn.Module, shape: tuple[int, ...]) -> nn.Module:
        return module

    def apply(self, student: Trained, trainer: Trainer) -> Trained:
        raise BadInput("failing: as it was made to")
