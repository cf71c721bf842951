"""A way of making a network cheaper that fails, to be named in a recipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from littoral.errors import BadInput
from littoral_cloud.compression.method import Method
from littoral_cloud.training.train import Trained
from littoral_cloud.training.trainer import Trainer


@dataclass(frozen=True, slots=True)
class Failing(Method):
    kind: ClassVar[str] = "failing"

    def apply(self, student: Trained, trainer: Trainer) -> Trained:
        raise BadInput("failing: as it was made to")
