"""Structured pruning: takes whole channels out, so that the network is smaller for every runtime.

Which channels belong together is found by torch-pruning: G. Fang, X. Ma, M. Song, M. Bi Mi, X. Wang: DepGraph: Towards Any
Structural Pruning, CVPR 2023, https://arxiv.org/abs/2301.12900; the channels of smallest norm in a group go: H. Li et al.:
Pruning Filters for Efficient ConvNets, ICLR 2017, https://arxiv.org/abs/1608.08710.

torch-pruning knows layers, not what the network's own code does between them: where that shuffles channels or cuts them in
two, it may take out the wrong ones without an error. So each group is checked: the network with these channels at 0 must
answer like the network without them. Where it does not, BadInput names the layer. The pruned network is built anew from its
spec, as every node would build it (littoral/architectures/pruned.py).
"""

from __future__ import annotations

import copy
import importlib
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import nn

from littoral.architectures import build
from littoral.architectures import sizes_of as sizes_of_input
from littoral.architectures.pruned import FIELD, sizes_of
from littoral.errors import BadInput
from littoral_cloud.compression.dependency_graph import dependency_graph_of, layers_of
from littoral_cloud.compression.magnitude_pruning import sparse_or_free
from littoral_cloud.compression.method import Method, check_layers
from littoral_cloud.training.seeding import computing, seeded
from littoral_cloud.training.train import Trained
from littoral_cloud.training.trainer import Trainer

_PRUNING: Any = importlib.import_module("torch_pruning")  # takes more than its types allow
_TRIED = 4  # inputs on which both networks must give the same answers
_ROUNDING = 1e-3  # of the largest logit: sums over fewer terms round differently


@dataclass(frozen=True, slots=True)
class Channels(Method):
    """Takes channels out of convolutions and units out of linear layers, in `steps` of pruning and fine-tuning, over
    which the epochs are spread.

    `ratio`: the fraction of the channels of each layer that goes; `layers`: other ratios by layer name; `skip`: layers that
    keep all outputs, as the logits always do. Layers whose outputs are added together lose the same channels: name one of them.
    """

    kind: ClassVar[str] = "channels"
    ratio: float = 0.5
    layers: Mapping[str, float] = field(default_factory=dict)
    skip: tuple[str, ...] = ()
    round_to: int = 1  # the number of channels that stay is a multiple of it
    steps: int = 1

    def __post_init__(self) -> None:
        for name, ratio in (("ratio", self.ratio), *((f"layers.{name}", ratio) for name, ratio in self.layers.items())):
            if not 0 <= ratio < 1:
                raise BadInput(f"channels.{name}: {ratio}", hint="a fraction of the channels, from 0 up to, but not, 1")
        if not 1 <= self.steps <= self.epochs:
            raise BadInput(f"channels: {self.steps} steps in {self.epochs} epochs", hint="at least 1 step, an epoch for each")
        if self.round_to < 1:
            raise BadInput(f"channels.round_to: {self.round_to}", hint="at least 1")
        if both := sorted(set(self.skip) & set(self.layers)):
            raise BadInput(f"channels.skip: {both[0]} has a ratio of its own", hint="name it in one of both")
        Method.__post_init__(self)

    def rehearsed(self, module: nn.Module, shape: tuple[int, ...]) -> nn.Module:
        """See littoral_cloud.compression.method.Method."""
        pruner = _Pruner(self, module, shape, 1)
        for _ in range(self.steps):
            pruner.step()
        return module

    def apply(self, student: Trained, trainer: Trainer) -> Trained:
        """See littoral_cloud.compression.method.Method. The trainings before the last are `{student.name}-channels-step1` and
        so on.

        Raises:
            BadInput: also where channels of this network cannot be taken out; names the layer.
        """
        if student.spec.get("quantized"):
            raise BadInput(f"channels: {student.name} is quantized already", hint="prune first, then quantize")
        given = sizes_of_input(student.spec, student.input.shape)
        classes = trainer.dataset.classes
        plain = {k: v for k, v in student.spec.items() if k != FIELD}
        with computing(trainer.threads), seeded(self.seed):
            base = build(plain, **given, classes=classes)
        module = copy.deepcopy(student.module)
        pruner = _Pruner(self, module, student.input.shape, trainer.threads)
        seconds = 0.0
        for step in range(1, self.steps + 1):
            pruner.step()
            sizes = sizes_of(module, base)
            spec = {**plain, FIELD: sizes} if sizes else plain
            with computing(trainer.threads), seeded(self.seed):
                rebuilt = build(spec, **given, classes=classes)
            rebuilt.load_state_dict(module.state_dict())
            last = step == self.steps
            seconds += trainer.teach(
                rebuilt,
                name=f"{student.name}-{self.kind}" if last else f"{student.name}-{self.kind}-step{step}",
                epochs=self.epochs * step // self.steps - self.epochs * (step - 1) // self.steps,
                schedule=self.schedule,
                seed=self.seed + step - 1,
                constraint=sparse_or_free(rebuilt),
            )
            module.load_state_dict(rebuilt.state_dict())
        return Trained.of(student.name, rebuilt, spec, student.input, seconds)


class _Pruner:
    """Prunes one network by torch-pruning; changes it."""

    def __init__(self, plan: Channels, module: nn.Module, shape: tuple[int, ...], threads: int) -> None:
        self._module, self._shape, self._threads = module.eval(), shape, threads
        layers = layers_of(module)
        check_layers("channels", (*plan.layers, *plan.skip), layers)
        graph = dependency_graph_of(module, shape, threads=threads)
        fixed = [layers[name] for name, where in graph.answers.items() if name in layers and where.any()]
        # A depthwise layer over the network's input must keep the channels of that.
        fixed += [layer for name, layer in layers.items() if getattr(layer, "groups", 1) > 1 and graph.from_input[name].any()]
        try:
            self._pruner = self._made(plan, [*fixed, *(layers[name] for name in plan.skip)])
        except (RuntimeError, IndexError, AssertionError, ValueError, KeyError) as error:
            raise BadInput(
                f"channels: the outputs of {type(module).__name__}'s layers cannot be followed: {type(error).__name__}: {error}",
                hint="use magnitude",
            ) from error
        self._names = {layer: name for name, layer in module.named_modules()}
        self._refuse_two_ratios(plan)

    def _made(self, plan: Channels, untouched: list[nn.Module]) -> Any:
        layers = layers_of(self._module)
        with self._tracing():
            return _PRUNING.pruner.BasePruner(
                self._module,
                torch.zeros(1, *self._shape),
                importance=_PRUNING.importance.GroupMagnitudeImportance(p=2),
                pruning_ratio=plan.ratio,
                pruning_ratio_dict={layers[name]: ratio for name, ratio in plan.layers.items()},
                ignored_layers=untouched,
                round_to=plan.round_to if plan.round_to > 1 else None,
                iterative_steps=plan.steps,
                # Its defaults are dictionaries that all pruners of a process share.
                in_channel_groups={},
                out_channel_groups={},
                num_heads={},
                channel_groups={},
            )

    def step(self) -> None:
        """Takes out the channels of one step. Raises BadInput where a group cannot be taken out."""
        x = torch.randn(_TRIED, *self._shape, generator=torch.Generator().manual_seed(0))
        with self._tracing():
            for group in self._pruner.step(interactive=True):
                self._take(group, x)
        for parameter in self._module.parameters():
            parameter.grad = None

    def _take(self, group: Any, x: torch.Tensor) -> None:
        root = self._names[group[0].dep.target.module]
        with torch.no_grad():
            silenced = copy.deepcopy(self._module)
            for name, kinds, channels in self._outputs_of(group):
                for kind in kinds:
                    if (parameter := getattr(silenced.get_submodule(name), kind)) is not None:
                        parameter[channels] = 0.0
            expected = silenced(x)
            try:
                group.prune()
                answered = self._module(x)
            except (RuntimeError, IndexError, AssertionError, ValueError) as error:
                raise self._refused(root, f"{type(error).__name__}: {str(error)[:200]}") from error
        if not torch.allclose(answered, expected, rtol=0, atol=_ROUNDING * float(expected.abs().max()) + 1e-6):
            raise self._refused(root, "the network without these channels answers otherwise than with them silent")

    def _outputs_of(self, group: Any) -> Iterator[tuple[str, Iterable[str], list[int]]]:
        """The layers of a group, and the outputs that go."""
        for dep, channels in group:
            layer = dep.target.module
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) or (
                isinstance(layer, nn.Conv2d | nn.Linear) and self._pruner.DG.is_out_channel_pruning_fn(dep.handler)
            ):
                yield self._names[layer], ("weight", "bias"), channels

    def _refused(self, layer: str, why: str) -> BadInput:
        return BadInput(
            f"channels: the outputs of layer {layer} of {type(self._module).__name__} cannot be taken out: {why}",
            hint=f"name {layer} in skip, or use magnitude",
        )

    def _refuse_two_ratios(self, plan: Channels) -> None:
        with self._tracing():
            for group in self._pruner.DG.get_all_groups(ignored_layers=self._pruner.ignored_layers):
                named = sorted({name for name, _, _ in self._outputs_of(group)} & set(plan.layers))
                if len({plan.layers[name] for name in named}) > 1:
                    raise BadInput(
                        f"channels.layers: {' and '.join(named)} lose the same channels, their outputs are added together",
                        hint="give one of them a ratio",
                    )

    @contextmanager
    def _tracing(self) -> Iterator[None]:
        """For torch-pruning, which follows autograd's graph; its warnings of that are needless, for `_take` checks the result."""
        with computing(self._threads), torch.inference_mode(False), torch.enable_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            yield
