"""What training may not change in a network: the port."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import nn


class Constraint(Protocol):
    """A rule that weights obey while a network is trained: a mask, shared values, a grid. It may have tensors of its own."""

    @property
    def key(self) -> str:
        """Names all that decides what it does: of two with equal keys, each may continue where the other stopped."""
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
        """What `restore` needs to continue after a crash."""
        ...

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None: ...


class Unconstrained:
    """No rule: every weight may change."""

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
        """Nothing to restore."""


FREE = Unconstrained()
