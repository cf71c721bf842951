"""What training may not change in a network."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn


class Constraint:
    """A rule that weights obey while a network is trained: a mask, shared values, a grid. It may have tensors of its own.

    This base is no rule: every weight may change.
    """

    @property
    def key(self) -> str:
        """Names all that decides what it does: of two with equal keys, each may continue where the other stopped."""
        return "free"

    def attach(self, module: nn.Module) -> None:
        """Once, before the first step, of a resumed training too."""

    def before_step(self, module: nn.Module, step: int, steps: int) -> None:
        """The gradients are there; the weights have not moved yet. `step` from 1."""

    def after_step(self, module: nn.Module, step: int, steps: int) -> None:
        """The weights have moved."""

    def tensors(self) -> Mapping[str, torch.Tensor]:
        """What `restore` needs to continue after a crash."""
        return {}

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Takes what `tensors` returned."""


FREE = Constraint()


def under(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
