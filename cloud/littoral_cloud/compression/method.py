"""A compression method: a frozen value whose one function makes a cheaper network of a trained one."""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, ClassVar

from torch import nn

from littoral.errors import BadInput
from littoral_cloud.training.constraint import Constraint
from littoral_cloud.training.schedule import Schedule
from littoral_cloud.training.seeding import checked_seed
from littoral_cloud.training.train import Trained
from littoral_cloud.training.trainer import Trainer

LAST: Mapping[str, str] = {"weight-sharing": "the values that weights share", "qat": "the steps and ranges of int8"}
"""Methods that must be the last one, and what more training would undo."""


@dataclass(frozen=True, slots=True)
class Method(ABC):
    """Pruning, quantization-aware training, weight sharing. Its fields are the settings of a recipe."""

    kind: ClassVar[str]  # the name in a recipe, for example "magnitude"
    epochs: int
    schedule: Schedule
    seed: int

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise BadInput(f"{self.kind}.epochs: {self.epochs}", hint="at least 1")
        checked_seed(f"{self.kind}.seed", self.seed)

    def resolved(self) -> dict[str, Any]:
        """The settings as JSON values, for a manifest, with {"kind": ...}."""
        return {"kind": self.kind, **asdict(self)}

    def rehearsed(self, module: nn.Module, shape: tuple[int, ...]) -> nn.Module:
        """The network with the layers and sizes that the method will give it, untrained; may change `module`.

        It refuses what does not fit, before any training. Raises BadInput, naming the layer.
        """
        return module

    @abstractmethod
    def apply(self, student: Trained, trainer: Trainer) -> Trained:
        """The network after it, fine-tuned by the trainer; the one before it is not changed.

        What it trains it calls `{student.name}-{kind}`, and so its checkpoint. The result's `spec` is that which
        littoral.architectures.build makes the new network from.

        Raises:
            BadInput: a setting does not fit this network; names it. TrainingDiverged: see Trainer.teach.
        """

    def tuned(
        self, student: Trained, trainer: Trainer, module: nn.Module, constraint: Constraint, spec: Mapping[str, Any] | None = None
    ) -> Trained:
        """The student with this module, fine-tuned under a constraint; `spec` None: the student's own."""
        seconds = trainer.teach(
            module,
            name=f"{student.name}-{self.kind}",
            epochs=self.epochs,
            schedule=self.schedule,
            seed=self.seed,
            constraint=constraint,
        )
        return Trained.of(student.name, module, student.spec if spec is None else spec, student.input, seconds)


def check_layers(at: str, names: Iterable[str], layers: Mapping[str, nn.Module]) -> None:
    """Raises BadInput for the first name that is no layer; `at`: the setting. The hint is the nearest name."""
    for name in names:
        if name not in layers:
            near = difflib.get_close_matches(name, layers, 1, 0.0)
            raise BadInput(f"{at}: there is no layer {name!r}", hint=f"nearest: {', '.join(near) or 'none at all'}")


def refuse_undoing(methods: Sequence[Method]) -> None:
    """Raises BadInput where a method would undo the one before it. Pruned weights and channels stay pruned in all that
    follows, so pruning methods may come in any order."""
    kinds = [method.kind for method in methods]
    for kind, after in pairwise(kinds):
        if kind in LAST:
            hint = f"one of {' and '.join(LAST)}, not both" if after in LAST else f"put {kind} last"
            raise BadInput(f"method: {after} after {kind} would undo {LAST[kind]}", hint=hint)
