"""Weight sharing: each layer's weights take one of a few values, and training goes on under that.

S. Han, H. Mao, W. J. Dally: Deep Compression, ICLR 2016, https://arxiv.org/abs/1510.00149 (section 3): k-means in each layer,
then fine-tuning in which all weights that share a value move together, by the sum of their gradients. A weight that was pruned
stays 0 and shares nothing.

The rules, in order:

1. Fold the norms. Quantise each parameter: k-means levels, or uniform steps (kmeans.py).
2. For the share `reassign` of the steps, weights may change to another value. Each has a float copy, which the optimiser moves
   by the gradients at the shared values (M. Courbariaux et al.: BinaryConnect, https://arxiv.org/abs/1511.00363), and takes
   the value nearest to its copy, while the values follow the means of their members.
3. With a `rate`, a weight takes the value of least squared error plus price of its code, because what travels is entropy
   coded; 0, the cheapest, is one of the values. An error counts in relation to the layer's mean square, or with `weigh` =
   "saliency" by what it costs the loss: the mean square of the layer's gradient, as in saliency_pruning.py. Small layers on
   which much depends then keep fine steps.
4. After that the assignment stays, and the values move as in the paper. `reassign` 0 is the paper's own way.

Shared values have few significant bits (`digits`), zeros are plain zeros, and the exporters keep every value as it is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from torch import nn

from littoral.architectures.quantized import FIELD as QUANTIZED
from littoral.codec.choice import FEWEST
from littoral.errors import BadInput
from littoral_cloud.compression.dependency_graph import layers_of
from littoral_cloud.compression.folding import folded_student, move_biases
from littoral_cloud.compression.method import Method, check_layers
from littoral_cloud.compression.shared_parameters import HeldParameter, RoundedParameter, SharedParameter, ZeroParameter
from littoral_cloud.training.constraint import Constraint, under
from littoral_cloud.training.preparation import tensor_of
from littoral_cloud.training.train import Trained
from littoral_cloud.training.trainer import Trainer

_FEW = 64  # examples to find out what a bias does
_MEMORY = 0.99  # of the mean square of a gradient, a step
_LEAST = 1e-30
_SQUARE = "square"
_RAMP = 0.5  # of the steps in which values may change: the rate grows until there


@dataclass(frozen=True, slots=True)
class WeightSharing(Method):
    """Shares the weights of convolutions and linear layers; see the module.

    `bits`: 2^bits values in each layer besides 0; `conv_bits` for convolutions, `layers` for single layers. With `quantiser`
    "uniform", 2^bits - 1 equal steps with 0 among them, for biases a power of two. `bias`: 2 to 8 shares biases as well, 16 makes
    them exact in float16, 32 leaves them. `small`: parameters of fewer than 64 values, biases too, get steps of a power of two
    with this many bits: a codec learns no codebook from so few, and such steps are short in float32; None: they are as the
    others. `rate`: the weight of a bit of code beside the squared error, in mean squares of the layer's weights: 0.003 to
    0.03, up to 0.3 for one or two bits a weight. `weigh`, `reassign`: see the module.
    """

    kind: ClassVar[str] = "weight-sharing"
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
    move_biases: bool = False  # into the next layer where that is possible, see folding.py

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
        Method.__post_init__(self)

    def rehearsed(self, module: nn.Module, shape: tuple[int, ...]) -> nn.Module:
        """See littoral_cloud.compression.method.Method."""
        self.bits_of(module)
        return module

    def apply(self, student: Trained, trainer: Trainer) -> Trained:
        """See littoral_cloud.compression.method.Method. Raises BadInput for an unknown layer and for a network trained for
        int8."""
        if student.spec.get(QUANTIZED):
            raise BadInput(f"{student.name}: is trained for int8 already", hint="weight-sharing or qat, not both")
        plain = folded_student(student)
        bits = self.bits_of(plain.module)
        if self.move_biases:
            few = tensor_of(student.input, trainer.dataset.train_x[:_FEW])
            bits |= {f"{name}.bias": 0 for name in move_biases(plain.module, few, threads=trainer.threads)}
        return self.tuned(student, trainer, plain.module, Shared(bits, self), plain.spec)

    def bits_of(self, module: nn.Module) -> dict[str, int]:
        """Bits by parameter name; 16: rounded to float16 alone."""
        layers = layers_of(module)
        check_layers("weight-sharing.layers", self.layers, layers)
        bits: dict[str, int] = {}
        for name, layer in layers.items():
            usual = self.conv_bits if self.conv_bits and isinstance(layer, nn.Conv2d) else self.bits
            bits[f"{name}.weight"] = self.layers.get(name, usual)
            if layer.bias is not None and self.bias < 32:
                bits[f"{name}.bias"] = self.bias
        return bits


class Shared(Constraint):
    """The constraint of WeightSharing. `bits`: by parameter; 16 rounds it to float16 alone, 0 makes it 0."""

    def __init__(self, bits: Mapping[str, int], plan: WeightSharing) -> None:
        self._bits, self._plan = dict(bits), plan
        self._parameters: dict[str, HeldParameter] = {}
        self._squares: dict[str, float] = {}  # by parameter that has a price: mean square of its gradient

    @property
    def key(self) -> str:
        plan = self._plan
        parts: list[Any] = [self._bits, plan.quantiser, plan.rate, plan.reassign, plan.every, plan.digits]
        parts += [plan.weigh] * (plan.weigh != "size") + [f"small {plan.small}"] * (plan.small is not None)
        return f"shared weights {json.dumps(parts, sort_keys=True)}"

    def attach(self, module: nn.Module) -> None:
        plan = self._plan
        shared = partial(SharedParameter, quantiser=plan.quantiser, priced=plan.rate > 0, digits=plan.digits)
        self._parameters = {}
        for name, bits in self._bits.items():
            parameter = module.get_parameter(name)
            if bits == 0 or (bits < 16 and not torch.count_nonzero(parameter)):
                self._parameters[name] = ZeroParameter()
            elif plan.small is not None and parameter.numel() < FEWEST:
                self._parameters[name] = shared(parameter, plan.small, steps=True)
            elif bits == 16:
                self._parameters[name] = RoundedParameter(parameter)
            else:
                self._parameters[name] = shared(parameter, bits, matrix=parameter.ndim > 1)
        if plan.reassign == 0:
            self._fix()

    @torch.no_grad()
    def before_step(self, module: nn.Module, step: int, steps: int) -> None:
        for name, one in self._parameters.items():
            parameter = module.get_parameter(name)
            if self._plan.weigh == "saliency" and isinstance(one, SharedParameter) and one.priced and parameter.grad is not None:
                now = float(parameter.grad.square().mean())
                self._squares[name] = _MEMORY * self._squares.get(name, now) + (1 - _MEMORY) * now
            one.before_step(parameter)

    @torch.no_grad()
    def after_step(self, module: nn.Module, step: int, steps: int) -> None:
        last = math.floor(self._plan.reassign * steps)
        rate = self._plan.rate * min(1.0, step / max(1.0, _RAMP * last))
        due = step % self._plan.every == 0 or step >= last
        factors = self._price_factors() if due else {}
        for name, one in self._parameters.items():
            one.after_step(module.get_parameter(name), rate * factors.get(name, 1.0), due)
        if step >= last:
            self._fix()

    def _price_factors(self) -> dict[str, float]:
        """By parameter, a factor on the price of a bit: the greater its saliency, the smaller."""
        books = {
            name: one for name, one in self._parameters.items() if isinstance(one, SharedParameter) and name in self._squares
        }
        saliency = {name: max(self._squares[name] * book.spread, _LEAST) for name, book in books.items()}
        total = sum(book.count for book in books.values())
        mean = sum(book.count * math.log(saliency[name]) for name, book in books.items()) / max(1, total)
        return {name: math.exp(mean) / value for name, value in saliency.items()}

    def _fix(self) -> None:
        for one in self._parameters.values():
            one.fix()

    def tensors(self) -> dict[str, torch.Tensor]:
        squares = {f"{name}/{_SQUARE}": torch.tensor(square, dtype=torch.float64) for name, square in self._squares.items()}
        values = {f"{name}/{key}": tensor for name, one in self._parameters.items() for key, tensor in one.tensors().items()}
        return squares | values

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self._squares = {k.removesuffix(f"/{_SQUARE}"): float(v) for k, v in tensors.items() if k.endswith(f"/{_SQUARE}")}
        for name, one in self._parameters.items():
            one.restore(under(f"{name}/", tensors))
