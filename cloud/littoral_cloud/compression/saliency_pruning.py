"""Unstructured pruning by saliency: how much the loss grows without a weight, compared over all layers.

Y. LeCun, J. S. Denker, S. A. Solla: Optimal Brain Damage, NIPS 1989: taking a weight w away costs about h * w^2 / 2, where h is
the second derivative of the loss. h is taken as the mean square of the gradient (the diagonal of the empirical Fisher matrix, as
in L. Theis et al.: Faster gaze prediction with dense networks and Fisher pruning, 2018, https://arxiv.org/abs/1801.05787),
averaged while the network trains. Saliencies compare across layers, so one number says how many weights stay in all. The
schedule is the cubic one of magnitude_pruning.py, and a weight that is gone never returns.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from littoral.errors import BadInput
from littoral_cloud.compression.dependency_graph import DependencyGraph, dependency_graph_of, layers_of
from littoral_cloud.compression.magnitude_pruning import FixedMask, pruned_mask_of
from littoral_cloud.compression.method import Method
from littoral_cloud.training.constraint import Constraint, under
from littoral_cloud.training.train import Trained
from littoral_cloud.training.trainer import Trainer

_MEMORY = 0.99  # of the mean square of the gradient, a step


@dataclass(frozen=True, slots=True)
class Saliency(Method):
    """Keeps the `keep` weights (a whole number, or a fraction of all) of greatest saliency in convolutions and linear layers.
    A neuron without incoming or without outgoing weights loses the others as well."""

    kind: ClassVar[str] = "saliency"
    keep: int | float
    end: float = 0.75  # of all steps: where the last weights have gone, and fine-tuning begins
    every: int = 25  # steps between two cuts

    def __post_init__(self) -> None:
        if isinstance(self.keep, bool) or not self.keep > 0 or (isinstance(self.keep, float) and not self.keep < 1):
            raise BadInput(f"saliency.keep: {self.keep!r}", hint="a whole number of weights, or a fraction of them below 1.0")
        if not 0 < self.end <= 1 or self.every < 1:
            raise BadInput(f"saliency: end {self.end}, every {self.every}", hint="end over 0 up to 1, every from 1 step")
        Method.__post_init__(self)

    def rehearsed(self, module: nn.Module, shape: tuple[int, ...]) -> nn.Module:
        """See littoral_cloud.compression.method.Method."""
        self._count(module)
        return module

    def _count(self, module: nn.Module) -> int:
        """The number of weights that stay."""
        total = sum(layer.weight.numel() for layer in layers_of(module).values())
        keep = self.keep if isinstance(self.keep, int) else max(1, round(self.keep * total))
        if keep > total:
            raise BadInput(f"saliency.keep: {keep} of {total} weights", hint=f"at most {total}")
        return keep

    def apply(self, student: Trained, trainer: Trainer) -> Trained:
        """See littoral_cloud.compression.method.Method."""
        module = copy.deepcopy(student.module)
        graph = dependency_graph_of(module, student.input.shape, threads=trainer.threads)
        return self.tuned(student, trainer, module, Cuts(self._count(module), self.end, self.every, graph))


class Cuts(Constraint):
    """The constraint of Saliency: fewer and fewer weights, then one mask that stays."""

    def __init__(self, keep: int, end: float, every: int, graph: DependencyGraph) -> None:
        self._keep, self._end, self._every, self._graph = keep, end, every, graph
        self._squares: dict[str, torch.Tensor] = {}  # by layer: mean square of its weights' gradients
        self._begin = 0  # weights before the first step
        self._mask = FixedMask({})

    @property
    def key(self) -> str:
        return f"saliency {json.dumps([self._keep, self._end, self._every, _MEMORY])}"

    def attach(self, module: nn.Module) -> None:
        layers = layers_of(module)
        self._squares = {name: torch.zeros_like(layer.weight) for name, layer in layers.items()}
        self._begin = sum(int((layer.weight != 0).sum()) for layer in layers.values())
        self._mask = pruned_mask_of(module)

    @torch.no_grad()
    def before_step(self, module: nn.Module, step: int, steps: int) -> None:
        for name, square in self._squares.items():
            gradient = module.get_parameter(f"{name}.weight").grad
            if gradient is not None:
                square.mul_(_MEMORY).addcmul_(gradient, gradient, value=1 - _MEMORY)

    @torch.no_grad()
    def after_step(self, module: nn.Module, step: int, steps: int) -> None:
        last = max(1, math.floor(self._end * steps))
        self._mask.after_step(module, step, steps)  # the step has moved the zeros too
        if step == last or (step < last and step % self._every == 0):
            left = (1 - step / last) ** 3
            self._cut(module, round(self._keep + (self._begin - self._keep) * left))
            self._mask.after_step(module, step, steps)

    def _cut(self, module: nn.Module, count: int) -> None:
        layers = layers_of(module)
        saliency = {name: layer.weight.detach() ** 2 * self._squares[name] for name, layer in layers.items()}
        # A weight that is gone has no saliency, and never returns.
        flat = torch.cat([torch.where(layers[name].weight == 0, -1.0, values).reshape(-1) for name, values in saliency.items()])
        staying = torch.zeros(flat.numel(), dtype=torch.bool)
        staying[torch.topk(flat, min(count, flat.numel()), sorted=False).indices] = True
        staying &= flat >= 0
        parts = torch.split(staying, [values.numel() for values in saliency.values()])
        masks = {name: part.reshape(values.shape) for (name, values), part in zip(saliency.items(), parts, strict=True)}
        fixed = {f"{name}.weight": mask for name, mask in masks.items()}
        for name, dead in self._graph.dead(module, masks).items():
            fixed[name] = fixed.get(name, torch.ones_like(dead)) & ~dead
        self._mask = FixedMask(fixed)

    def tensors(self) -> Mapping[str, torch.Tensor]:
        squares = {f"square.{name}": square for name, square in self._squares.items()}
        return squares | {"begin": torch.tensor(self._begin)} | {f"mask.{k}": v for k, v in self._mask.tensors().items()}

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self._squares = under("square.", tensors)
        self._begin = int(tensors["begin"])
        self._mask.restore(under("mask.", tensors))
