"""What every way of making a trained network cheaper has in common: a frozen value with one function, network to network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from cloud.factory.lesson import Lesson
from cloud.factory.training import Trained


class Method(Protocol):
    """Pruning, quantization-aware training, weight sharing: the settings are its fields."""

    @property
    def kind(self) -> str:
        """Its name in a recipe, for example "magnitude"."""
        ...

    def resolved(self) -> Mapping[str, Any]:
        """Its settings as JSON values, for a manifest; {"kind": ...} among them."""
        ...

    def apply(self, student: Trained, lesson: Lesson) -> Trained:
        """The network after it, fine-tuned by the lesson; the one before it is not changed.

        What it trains it calls `{student.name}-{kind}`, and so its checkpoint. The result's `spec` is that which
        littoral.architectures.build makes the new network from.

        Raises:
            BadInput: a setting does not fit this network; names it. TrainingDiverged: see Lesson.teach.
        """
        ...
