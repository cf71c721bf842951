"""What a training follows and reports: its schedule, its steps, and the logits of its teacher."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from littoral.errors import BadInput
from littoral_cloud.training.augmentation import Augment

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of training, for those that show progress."""

    name: str  # what is trained
    step: int  # from 1
    steps: int
    loss: float


Progress = Callable[[Step], None]


def ignore(_: object) -> None:
    """For callers that show nothing: as progress, as messages."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How fast, and on what, under one cycle of the learning rate."""

    batch: int = 128
    learning_rate: float = 4e-3  # at its peak
    weight_decay: float = 1e-2
    shift: int = 0  # pixels that a batch may be moved by, up, down and sideways; its teacher's answers stay; what comes in is 0
    # "sgd" wants a higher rate or a smaller batch, and follows a teacher closer. "lbfgs" solves for the weights of `linear` from
    # the labels, all examples at once: weight_decay is the penalty of logistic.py, epochs the most steps, nothing else counts.
    optimiser: Literal["adamw", "sgd", "lbfgs"] = "adamw"
    augment: Augment | None = None  # each epoch on a moved copy of its own, with the teacher's answers for that copy

    def __post_init__(self) -> None:
        if self.batch < 1 or not 0 < self.learning_rate < 10 or self.weight_decay < 0 or self.shift < 0:
            raise BadInput(f"schedule: {self}", hint="batch from 1, learning rate between 0 and 10, decay and shift not negative")
        if self.optimiser not in ("adamw", "sgd", "lbfgs"):
            raise BadInput(f"schedule.optimiser: {self.optimiser!r}", hint="adamw, sgd, or lbfgs for the architecture linear")

    def resolved(self) -> dict[str, Any]:
        """All that decides a training, as JSON values. The default optimiser is left out: older checkpoints lack the field."""
        return {name: value for name, value in asdict(self).items() if (name, value) != ("optimiser", "adamw")}

    def copy(self, epoch: int) -> int:
        """Which copy of the images an epoch (from 0) is taught on."""
        return epoch % self.augment.copies if self.augment else 0


class TeacherLogits(Protocol):
    """A teacher's logits of the training images, (n, classes), for each copy of them."""

    @property
    def digest(self) -> str:
        """Of the teacher: other answers have another one."""
        ...

    def of(self, copy: int) -> Logits: ...
