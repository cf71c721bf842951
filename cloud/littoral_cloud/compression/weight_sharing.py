"""Weight sharing: each layer's weights take one of a few values, and training goes on under that.

S. Han, H. Mao, W. J. Dally: Deep Compression, ICLR 2016, https://arxiv.org/abs/1510.00149 (section 3): k-means in each layer,
then fine-tuning in which all weights that share a value move together, by the sum of their gradients. A weight that was pruned
stays 0, and is no member of anything.

Before that, for a part of the steps, weights may still change to another value: each has a float copy that the optimiser moves
by the gradients taken at the shared values (M. Courbariaux et al.: BinaryConnect, https://arxiv.org/abs/1511.00363), and takes
the value nearest to its copy, while the values follow the means of their members. `reassign` 0 is
the paper's fixed assignment. With a `rate`, nearest is not all: what travels is entropy coded, so a weight goes where
squared error plus the price of the code is least (kmeans.py), and 0, the cheapest, is one of the choices. An error counts by its
share of the layer's mean square, or, with `weigh` = "saliency", by what the loss would miss: the mean square of the layer's
gradient, as in saliency_pruning.py. Layers of few weights that much hangs on then keep fine steps.

Norms are folded first. Shared values have few significant bits (`digits`), zeros are plain zeros, and the exporters keep every
value as it is.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from littoral.architectures.quantized import FIELD as QUANTIZED
from littoral.codec.choice import FEWEST
from littoral.errors import BadInput
from littoral_cloud.compression.dependency_graph import layers_of
from littoral_cloud.compression.folding import folded_student, move_biases
from littoral_cloud.compression.kmeans import Floats, binary, k_means, prices, uniform
from littoral_cloud.compression.method import check_teaching
from littoral_cloud.training.preparation import tensor_of
from littoral_cloud.training.train import Trained
from littoral_cloud.training.trainer import Lesson, Schedule

_FEW = 64  # images on which it is seen what a bias does
_MEMORY = 0.99  # of the mean square of a gradient, a step
_LEAST = 1e-30
_SQUARE = "square"
_RAMP = 0.5  # of the steps in which values may change: until there the rate grows


@dataclass(frozen=True, slots=True)
class WeightSharing:
    """Shares the weights of convolutions and linear layers; see the module.

    `bits`: 2^bits values a layer beside 0, of convolutions `conv_bits` where given, of layers named in `layers` their own; as
    "uniform" 2^bits - 1 equal steps with 0 among them, of biases a power of two. `bias`: 2 to 8 shares biases as well, 16 makes
    them exact in float16, 32 leaves them. `small`: what has fewer than 64 values, biases too, lies on steps of a power of two
    with so many bits: a codec learns no codebook from so few, and such steps are short in float32; None: it is as the rest.
    `rate`: what a bit of code weighs beside the squared error, in mean squares of the layer's weights; 0.003 to 0.03, and up to
    0.3 for one or two bits a weight. `weigh`: whose error counts how much, see the module. `reassign`: up to which share of the
    steps a weight may change its value; 0 is the paper's way.
    """

    epochs: int
    schedule: Schedule
    seed: int
    bits: int = 4
    conv_bits: int | None = None
    layers: Mapping[str, int] = field(default_factory=dict)
    bias: int = 16
    small: int | None = None
    quantiser: Literal["k-means", "uniform"] = "k-means"
    rate: float = 0.0
    weigh: Literal["size", "saliency"] = "size"
    reassign: float = 0.7
    every: int = 1  # steps between two assignments
    digits: int = 11  # significant bits of a shared value; up to 11 it is exact in float16, 24 are those of float32
    move_biases: bool = False  # biases that the next layer's own can say as well are 0, see folding.py

    def __post_init__(self) -> None:
        named = {"bits": self.bits, "conv_bits": self.conv_bits or self.bits} | {f"layers.{k}": v for k, v in self.layers.items()}
        for name, bits in named.items():
            if not 2 <= bits <= 6:
                raise BadInput(f"weight-sharing.{name}: {bits}", hint="2 to 6")
        if self.bias not in (*range(2, 9), 16, 32):
            raise BadInput(
                f"weight-sharing.bias: {self.bias}", hint="2 to 8 shares biases, 16 rounds them to float16, 32 leaves them"
            )
        if self.small is not None and not 2 <= self.small <= 8:
            raise BadInput(f"weight-sharing.small: {self.small}", hint="2 to 8, or leave it out")
        if not 0 <= self.rate < 1 or not 0 <= self.reassign <= 1:
            raise BadInput(
                f"weight-sharing: rate {self.rate}, reassign {self.reassign}", hint="rate 0 to 1, reassign from 0 to 1"
            )
        if self.weigh not in ("size", "saliency"):
            raise BadInput(f"weight-sharing.weigh: {self.weigh!r}", hint="size or saliency")
        if self.rate and not self.reassign:
            raise BadInput("weight-sharing.rate: needs steps in which weights may change their value", hint="reassign over 0")
        if self.every < 1:
            raise BadInput(f"weight-sharing.every: {self.every}", hint="at least 1 step")
        if not 2 <= self.digits <= 24:
            raise BadInput(f"weight-sharing.digits: {self.digits}", hint="2 to 24 significant bits")
        check_teaching(self.kind, self.epochs, self.seed)

    @property
    def kind(self) -> str:
        return "weight-sharing"

    def resolved(self) -> dict[str, Any]:
        return {"kind": self.kind, **asdict(self)}

    def rehearsed(self, module: nn.Module, shape: tuple[int, ...]) -> nn.Module:
        """See littoral_cloud.compression.method.Method."""
        self.bits_of(module)
        return module

    def apply(self, student: Trained, lesson: Lesson) -> Trained:
        """See littoral_cloud.compression.method.Method. Raises BadInput for a layer that is not there, and for a network
        trained for int8."""
        if student.spec.get(QUANTIZED):
            raise BadInput(f"{student.name}: is trained for int8 already", hint="weight-sharing or qat, not both")
        plain = folded_student(student)
        bits = self.bits_of(plain.module)
        if self.move_biases:
            few = tensor_of(student.input, lesson.dataset.train_x[:_FEW])
            bits |= {f"{name}.bias": 0 for name in move_biases(plain.module, few, threads=lesson.threads)}
        seconds = lesson.teach(
            plain.module,
            name=f"{student.name}-{self.kind}",
            epochs=self.epochs,
            schedule=self.schedule,
            seed=self.seed,
            constraint=Shared(bits, self),
        )
        return Trained.of(student.name, plain.module, plain.spec, student.input, seconds)

    def bits_of(self, module: nn.Module) -> dict[str, int]:
        """Parameter name to bits; 16 for what is rounded alone."""
        layers = layers_of(module)
        for name in self.layers:
            if name not in layers:
                near = difflib.get_close_matches(name, layers, 1, 0.0)
                raise BadInput(
                    f"weight-sharing.layers: there is no layer {name!r}", hint=f"nearest: {', '.join(near) or 'none at all'}"
                )
        bits: dict[str, int] = {}
        for name, layer in layers.items():
            usual = self.conv_bits if self.conv_bits and isinstance(layer, nn.Conv2d) else self.bits
            bits[f"{name}.weight"] = self.layers.get(name, usual)
            if layer.bias is not None and self.bias < 32:
                bits[f"{name}.bias"] = self.bias
        return bits


class Shared:
    """The constraint behind WeightSharing. `bits`: by parameter; 16 rounds it alone, 0 keeps it 0."""

    def __init__(self, bits: Mapping[str, int], plan: WeightSharing) -> None:
        self._bits, self._plan = dict(bits), plan
        self._held: dict[str, _Book | _Half | _Nothing] = {}
        self._squares: dict[str, float] = {}  # by parameter that has a price: mean square of its gradient

    @property
    def key(self) -> str:
        plan = self._plan
        said: list[Any] = [self._bits, plan.quantiser, plan.rate, plan.reassign, plan.every, plan.digits]
        said += [plan.weigh] * (plan.weigh != "size") + [f"small {plan.small}"] * (plan.small is not None)
        return f"shared weights {json.dumps(said, sort_keys=True)}"

    def attach(self, module: nn.Module) -> None:
        self._held = {}
        for name, bits in self._bits.items():
            parameter = module.get_parameter(name)
            small = self._plan.small if parameter.numel() < FEWEST else None
            if bits == 0 or (bits < 16 and not torch.count_nonzero(parameter)):
                self._held[name] = _Nothing()
            elif small is not None:
                self._held[name] = _Book(parameter, small, self._plan, steps=True)
            elif bits == 16:
                self._held[name] = _Half(parameter)
            else:
                self._held[name] = _Book(parameter, bits, self._plan, matrix=parameter.ndim > 1)
        if self._plan.reassign == 0:
            self._fix()

    @torch.no_grad()
    def before_step(self, module: nn.Module, step: int, steps: int) -> None:
        for name, held in self._held.items():
            parameter = module.get_parameter(name)
            if self._plan.weigh == "saliency" and isinstance(held, _Book) and held.priced and parameter.grad is not None:
                now = float(parameter.grad.square().mean())
                self._squares[name] = _MEMORY * self._squares.get(name, now) + (1 - _MEMORY) * now
            held.before_step(parameter)

    @torch.no_grad()
    def after_step(self, module: nn.Module, step: int, steps: int) -> None:
        last = math.floor(self._plan.reassign * steps)
        rate = self._plan.rate * min(1.0, step / max(1.0, _RAMP * last))
        due = step % self._plan.every == 0 or step >= last
        dear = self._dear() if due else {}
        for name, held in self._held.items():
            held.after_step(module.get_parameter(name), rate * dear.get(name, 1.0), due)
        if step >= last:
            self._fix()

    def _dear(self) -> dict[str, float]:
        """How many times the usual price a bit of each parameter has: the less, the more the loss would miss of it."""
        books = {name: held for name, held in self._held.items() if isinstance(held, _Book) and name in self._squares}
        saliency = {name: max(self._squares[name] * book.spread, _LEAST) for name, book in books.items()}
        total = sum(book.count for book in books.values())
        mean = sum(book.count * math.log(saliency[name]) for name, book in books.items()) / max(1, total)
        return {name: math.exp(mean) / value for name, value in saliency.items()}

    def _fix(self) -> None:
        for held in self._held.values():
            held.fix()

    def tensors(self) -> dict[str, torch.Tensor]:
        squares = {f"{name}/{_SQUARE}": torch.tensor(square, dtype=torch.float64) for name, square in self._squares.items()}
        held = {f"{name}/{key}": tensor for name, held in self._held.items() for key, tensor in held.tensors().items()}
        return squares | held

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self._squares = {k.removesuffix(f"/{_SQUARE}"): float(v) for k, v in tensors.items() if k.endswith(f"/{_SQUARE}")}
        for name, held in self._held.items():
            held.restore({k.removeprefix(f"{name}/"): v for k, v in tensors.items() if k.startswith(f"{name}/")})


class _Half:
    """A parameter whose values float16 holds, over a float copy."""

    def __init__(self, parameter: nn.Parameter) -> None:
        self._copy = parameter.detach().clone()
        self._show(parameter)

    def _show(self, parameter: nn.Parameter) -> None:
        with torch.no_grad():
            parameter.copy_(self._copy.half().float() + 0.0)

    def before_step(self, parameter: nn.Parameter) -> None:
        parameter.copy_(self._copy)

    def after_step(self, parameter: nn.Parameter, rate: float, due: bool) -> None:
        self._copy.copy_(parameter)
        self._show(parameter)

    def fix(self) -> None:
        """It goes on as it was."""

    def tensors(self) -> dict[str, torch.Tensor]:
        return {"copy": self._copy}

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self._copy = tensors["copy"]


class _Nothing:
    """A parameter of which nothing is left: zeros."""

    def before_step(self, parameter: nn.Parameter) -> None:
        """Whatever the gradient is, what it does is undone."""

    def after_step(self, parameter: nn.Parameter, rate: float, due: bool) -> None:
        parameter.zero_()

    def fix(self) -> None:
        """It goes on as it was."""

    def tensors(self) -> dict[str, torch.Tensor]:
        return {}

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Nothing was kept."""


class _Book:
    """A parameter whose values that are not 0 are shared."""

    def __init__(
        self, parameter: nn.Parameter, bits: int, plan: WeightSharing, *, matrix: bool = False, steps: bool = False
    ) -> None:
        alive = parameter.detach().flatten().nonzero().flatten()
        self._zeros = parameter.numel() - len(alive)
        self._alive = alive if self._zeros else None  # what is 0 now stays 0; None: all are alive
        self._digits, self.priced = plan.digits, matrix and plan.rate > 0
        self._copy: torch.Tensor | None = self._gather(parameter)  # None: assignments stay
        x = self._copy.numpy()
        self.spread, self.count = float(np.square(x.astype(np.float64)).mean()), len(x)
        if plan.quantiser == "uniform" and matrix:
            self._quantiser = uniform(x, bits)
        elif plan.quantiser == "uniform" or steps:
            self._quantiser = binary(x, bits)
        else:
            self._quantiser = k_means(x, min(2**bits, len(np.unique(x))), zero=self.priced)
        self._index = self._quantiser.assign(x)
        with torch.no_grad():
            self._show(parameter)

    def before_step(self, parameter: nn.Parameter) -> None:
        if self._copy is not None:
            self._scatter(parameter, self._copy)
            return
        assert parameter.grad is not None
        gradient, levels = self._gather(parameter.grad).numpy(), self._quantiser
        together: Floats = np.bincount(self._index, weights=gradient, minlength=len(levels.values)).astype(np.float64)
        if levels.codes is not None:
            together = levels.codes * float(levels.codes @ together)  # one step moves them all
        elif levels.zero is not None:
            together[levels.zero] = 0.0
        self._scatter(parameter.grad, self._each(together))
        self._scatter(parameter, self._each(levels.values))

    def after_step(self, parameter: nn.Parameter, rate: float, due: bool) -> None:
        now = self._gather(parameter)
        if self._copy is None:
            self._quantiser = self._quantiser.moved(now.numpy(), self._index)
        else:
            self._copy = now
            if due:
                self._assign(now.numpy(), rate)
        self._show(parameter)

    def _assign(self, x: npt.NDArray[Any], rate: float) -> None:
        cost = rate * self.spread * prices(self._index, self._quantiser, self._zeros) if self.priced else None
        self._index = self._quantiser.assign(x, cost, self._index)
        self._quantiser = self._quantiser.moved(x, self._index)

    def _show(self, parameter: nn.Parameter) -> None:
        """The shared values, and zeros."""
        if self._alive is not None:
            parameter.zero_()
        self._scatter(parameter, self._each(self._quantiser.rounded(self._digits)))

    def _each(self, of_level: npt.NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(np.take(of_level.astype(np.float32), self._index))

    def _gather(self, tensor: torch.Tensor) -> torch.Tensor:
        """A copy of what is alive, in the order of the parameter's places, however they lie in memory."""
        flat = tensor.detach().flatten()
        return flat.clone() if self._alive is None else flat.index_select(0, self._alive)

    def _scatter(self, into: torch.Tensor, values: torch.Tensor) -> None:
        into = into.detach()
        if self._alive is None:
            into.copy_(values.view(into.shape))
        elif into.is_contiguous():
            into.view(-1).index_copy_(0, self._alive, values)
        else:
            into.copy_(into.flatten().index_copy_(0, self._alive, values).view(into.shape))

    def fix(self) -> None:
        self._copy = None

    def tensors(self) -> dict[str, torch.Tensor]:
        kept = {"values": torch.from_numpy(self._quantiser.values), "index": torch.from_numpy(self._index)}
        return kept if self._copy is None else kept | {"copy": self._copy}

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self._quantiser = replace(self._quantiser, values=tensors["values"].numpy())
        self._index = tensors["index"].numpy()
        self._copy = tensors.get("copy")


def shared_values(parameters: Iterable[tuple[str, torch.Tensor]]) -> dict[str, int]:
    """How many values other than 0 each parameter holds."""
    return {name: len(torch.unique(p[p != 0])) for name, p in parameters}
