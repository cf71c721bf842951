"""What a network is held to while it is taught."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import nn


class Constraint(Protocol):
    """What a network is held to while it is taught: a mask, shared values, a grid. It may keep tensors of its own."""

    @property
    def key(self) -> str:
        """Says all that decides what it does: of two with one key, either may go on where the other stopped."""
        ...

    def attach(self, module: nn.Module) -> None:
        """Once, before the first step, of a resumed training too."""
        ...

    def before_step(self, module: nn.Module, step: int, steps: int) -> None:
        """The gradients are there; the weights have not moved yet. `step` from 1."""
        ...

    def after_step(self, module: nn.Module, step: int, steps: int) -> None:
        """The weights have moved."""
        ...

    def tensors(self) -> Mapping[str, torch.Tensor]:
        """What it must be given back to go on after a crash."""
        ...

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None: ...


class Unconstrained:
    """Held to nothing."""

    key = "free"

    def attach(self, module: nn.Module) -> None:
        """Nothing to prepare."""

    def before_step(self, module: nn.Module, step: int, steps: int) -> None:
        """Gradients stay."""

    def after_step(self, module: nn.Module, step: int, steps: int) -> None:
        """Weights stay."""

    def tensors(self) -> Mapping[str, torch.Tensor]:
        return {}

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Nothing was kept."""


FREE = Unconstrained()
