"""Unstructured pruning: the smallest weights become 0 little by little, while training goes on.

The schedule: M. Zhu, S. Gupta: To prune, or not to prune: exploring the efficacy of pruning for model compression, 2017,
https://arxiv.org/abs/1710.01878 (section 3: sparsity rises with the cube of the time left). Which weights: those smallest in a
dense copy that goes on learning under the mask, so that a weight can return: T. Lin et al.: Dynamic Model Pruning with Feedback,
ICLR 2020, https://arxiv.org/abs/2006.07253. (A weight that stayed 0 between two masks would never be large enough to return.)
Then the mask stays, and the rest of the steps fine-tune what is left.

How much of each layer: the Erdos-Renyi kernel of U. Evci et al.: Rigging the Lottery, 2019, https://arxiv.org/abs/1911.11134: a
layer keeps in proportion to the sum of its sides, not to their product, so small layers keep more of themselves. It needs no
weights, and no layer loses all of its own; one threshold over all layers emptied the first convolution of LeNet-5, at any scale.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import nn

from littoral.digest import digest_of
from littoral.errors import BadInput
from littoral_cloud.compression.dependency_graph import DependencyGraph, dependency_graph_of, layers_of
from littoral_cloud.compression.method import Method, check_layers
from littoral_cloud.training.constraint import FREE, Constraint, under
from littoral_cloud.training.train import Trained
from littoral_cloud.training.trainer import Trainer

Keep = Mapping[str, int | float]
"""By layer name, the weights that stay: a whole number is a count, a number with a point is a fraction."""


@dataclass(frozen=True, slots=True)
class Magnitude(Method):
    """Prunes weights of convolutions and linear layers, never biases or norms, while the trainer trains; see the module.

    `sparsity`: the fraction that becomes 0, of the layers that `keep` does not name, each with its own share (see `erk`); None:
    they stay as they are. A layer may keep less than its share: a neuron without incoming or without outgoing weights loses the
    others as well.
    """

    kind: ClassVar[str] = "magnitude"
    sparsity: float | None = None
    keep: Keep = field(default_factory=dict)
    begin: float = 0.0  # of all steps: where the first weights go
    end: float = 0.6  # of all steps: where the last have gone, and fine-tuning begins
    every: int = 10  # steps between two masks

    def __post_init__(self) -> None:
        if self.sparsity is None and not self.keep:
            raise BadInput("magnitude: neither sparsity nor keep is given", hint="for example sparsity 0.9")
        if self.sparsity is not None and not 0 <= self.sparsity < 1:
            raise BadInput(f"magnitude.sparsity: {self.sparsity}", hint="from 0 up to, but not, 1")
        if not 0 <= self.begin < self.end <= 1:
            raise BadInput(f"magnitude: begin {self.begin}, end {self.end}", hint="0 <= begin < end <= 1, fractions of the steps")
        if self.every < 1:
            raise BadInput(f"magnitude.every: {self.every}", hint="at least 1 step")
        Method.__post_init__(self)

    def rehearsed(self, module: nn.Module, shape: tuple[int, ...]) -> nn.Module:
        """See littoral_cloud.compression.method.Method."""
        counts_of(module, self.sparsity, self.keep)
        return module

    def apply(self, student: Trained, trainer: Trainer) -> Trained:
        """See littoral_cloud.compression.method.Method."""
        module = copy.deepcopy(student.module)
        counts = counts_of(module, self.sparsity, self.keep)
        graph = dependency_graph_of(module, student.input.shape, threads=trainer.threads)
        return self.tuned(student, trainer, module, Gradual(counts, self.begin, self.end, self.every, graph))


def counts_of(module: nn.Module, sparsity: float | None, keep: Keep) -> dict[str, int]:
    """The number of weights that each layer keeps. Raises BadInput for an unknown layer or an impossible share."""
    layers = layers_of(module)
    check_layers("magnitude.keep", keep, layers)
    counts = {name: _count(name, layers[name].weight.numel(), share) for name, share in keep.items()}
    rest = {name: tuple(layer.weight.shape) for name, layer in layers.items() if name not in keep}
    return counts | (erk(rest, 1 - sparsity) if sparsity is not None else {})


def _count(name: str, size: int, share: int | float) -> int:
    if isinstance(share, bool) or not isinstance(share, int | float) or not math.isfinite(share):
        raise BadInput(f"magnitude.keep.{name}: {share!r}", hint="a whole number of weights, or a fraction of them")
    count = share if isinstance(share, int) else max(1, round(share * size))
    if not 1 <= count <= size or (isinstance(share, float) and not 0 < share <= 1):
        raise BadInput(f"magnitude.keep.{name}: {share} of {size} weights", hint=f"1 to {size}, or a fraction over 0 up to 1.0")
    return count


def erk(shapes: Mapping[str, tuple[int, ...]], density: float) -> dict[str, int]:
    """Erdos-Renyi kernel: the number of weights that each layer keeps so that the fraction `density` of all stays, at least one.

    The share of a weight (out, in, high, wide) is in proportion to (out + in + high + wide) / (out * in * high * wide), at
    most 1.
    """
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    whole: set[str] = set()
    while len(whole) < len(shapes):
        left = density * sum(sizes.values()) - sum(sizes[name] for name in whole)
        scale = left / sum(sum(shapes[name]) for name in shapes.keys() - whole)
        over = {name for name in shapes.keys() - whole if scale * sum(shapes[name]) >= sizes[name]}
        if not over:
            return {name: sizes[name] if name in whole else max(1, round(scale * sum(shapes[name]))) for name in shapes}
        whole |= over
    return sizes


class FixedMask(Constraint):
    """A constraint: where the mask of a parameter is False, its weights stay 0, never -0.

    Gradients stay: AdamW moves each weight by its own gradient, and `after_step` puts zeros back.
    """

    def __init__(self, masks: Mapping[str, torch.Tensor]) -> None:
        self._gone = {name: ~mask for name, mask in masks.items()}

    @property
    def key(self) -> str:
        digests = {name: digest_of(gone.contiguous().numpy().tobytes()) for name, gone in sorted(self._gone.items())}
        return f"fixed mask {json.dumps(digests)}"

    def attach(self, module: nn.Module) -> None:
        self.after_step(module, 0, 0)

    @torch.no_grad()
    def after_step(self, module: nn.Module, step: int, steps: int) -> None:
        for name, gone in self._gone.items():
            module.get_parameter(name).masked_fill_(gone, 0.0)

    def tensors(self) -> dict[str, torch.Tensor]:
        return {f"gone.{name}": gone for name, gone in self._gone.items()}

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self._gone = under("gone.", tensors)


def pruned_mask_of(module: nn.Module) -> FixedMask:
    """Every weight of a convolution or linear layer that is 0 now stays 0."""
    return FixedMask({f"{name}.weight": layer.weight.detach() != 0 for name, layer in layers_of(module).items()})


def sparse_or_free(module: nn.Module) -> Constraint:
    """The constraint for more training of a network: pruned weights stay pruned."""
    pruned = any((layer.weight == 0).any() for layer in layers_of(module).values())
    return pruned_mask_of(module) if pruned else FREE


class Gradual(Constraint):
    """The constraint of Magnitude: tighter and tighter masks over a dense copy, then one mask that stays. Weights that are 0
    at the start stay 0."""

    def __init__(self, counts: Mapping[str, int], begin: float, end: float, every: int, graph: DependencyGraph) -> None:
        self._counts, self._begin, self._end, self._every, self._graph = dict(counts), begin, end, every, graph
        self._dense: dict[str, torch.Tensor] = {}  # by layer; empty once the mask stays
        self._gone: dict[str, torch.Tensor] = {}  # by layer: what is 0 in the network
        self._final: FixedMask | None = None
        self._start = FixedMask({})

    @property
    def key(self) -> str:
        return f"gradual magnitude {json.dumps([self._counts, self._begin, self._end, self._every], sort_keys=True)}"

    def attach(self, module: nn.Module) -> None:
        layers = layers_of(module)
        self._dense = {name: layers[name].weight.detach().clone() for name in self._counts}
        self._gone = {name: torch.zeros_like(weight, dtype=torch.bool) for name, weight in self._dense.items()}
        self._final = None
        self._start = pruned_mask_of(module)

    @torch.no_grad()
    def before_step(self, module: nn.Module, step: int, steps: int) -> None:
        """The gradient belongs to the masked network; it moves the dense copy."""
        for name, dense in self._dense.items():
            module.get_parameter(f"{name}.weight").copy_(dense)

    @torch.no_grad()
    def after_step(self, module: nn.Module, step: int, steps: int) -> None:
        if self._final:
            self._final.after_step(module, step, steps)
            return
        self._start.after_step(module, step, steps)
        first = math.floor(self._begin * steps)
        last = max(first + 1, math.floor(self._end * steps))
        for name, dense in self._dense.items():
            dense.copy_(module.get_parameter(f"{name}.weight"))
            if step >= last or (step > first and (step - first) % self._every == 0):
                sparsity = 1 - (1 - min(1.0, (step - first) / (last - first))) ** 3
                self._gone[name] = smallest(dense, round(sparsity * (dense.numel() - self._counts[name])))
            module.get_parameter(f"{name}.weight").masked_fill_(self._gone[name], 0.0)
        if step >= last:
            self._settle(module)

    def _settle(self, module: nn.Module) -> None:
        """Fixes the mask. Neurons without incoming or without outgoing weights lose the others as well."""
        staying = {name: ~gone & (self._dense[name] != 0) for name, gone in self._gone.items()}
        masks = {f"{name}.weight": mask for name, mask in staying.items()}
        for name, layer in layers_of(module).items():
            if name not in staying and (layer.weight == 0).any():
                masks[f"{name}.weight"] = layer.weight.detach() != 0
        for name, dead in self._graph.dead(module, staying).items():
            masks[name] = masks.get(name, torch.ones_like(dead)) & ~dead
        self._dense, self._gone = {}, {}
        self._final = FixedMask(masks)
        self._final.attach(module)

    def tensors(self) -> dict[str, torch.Tensor]:
        if self._final:
            return {f"final.{name}": tensor for name, tensor in self._final.tensors().items()}
        return {f"dense.{k}": v for k, v in self._dense.items()} | {f"masked.{k}": v for k, v in self._gone.items()}

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self._dense, self._gone, final = under("dense.", tensors), under("masked.", tensors), under("final.", tensors)
        self._final = FixedMask({}) if final else None
        if self._final:
            self._final.restore(final)


def smallest(weight: torch.Tensor, count: int) -> torch.Tensor:
    """True for exactly `count` weights of smallest magnitude; of equal weights the same ones on every run."""
    gone = torch.zeros(weight.numel(), dtype=torch.bool)
    gone[torch.topk(weight.abs().reshape(-1), count, largest=False, sorted=False).indices] = True
    return gone.reshape(weight.shape)
