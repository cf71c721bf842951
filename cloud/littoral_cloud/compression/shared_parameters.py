"""How weight sharing treats one parameter while the network trains: shared values, values rounded to float16, or zeros."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from littoral_cloud.compression.kmeans import Floats, binary, k_means, prices, uniform


class HeldParameter:
    """How one parameter is treated; the base of all ways."""

    def before_step(self, parameter: nn.Parameter) -> None:
        """The gradient is there; the parameter has not moved yet."""

    def after_step(self, parameter: nn.Parameter, rate: float, due: bool) -> None:
        """The parameter has moved. `rate`: the price of a bit; `due`: values may change their level now."""

    def fix(self) -> None:
        """From here on no value changes its level."""

    def tensors(self) -> dict[str, torch.Tensor]:
        """What `restore` needs to continue after a crash."""
        return {}

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Takes what `tensors` returned."""


class ZeroParameter(HeldParameter):
    """A parameter that stays 0."""

    def after_step(self, parameter: nn.Parameter, rate: float, due: bool) -> None:
        parameter.zero_()


class RoundedParameter(HeldParameter):
    """Values that float16 holds exactly, over a float copy that the optimiser moves."""

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

    def tensors(self) -> dict[str, torch.Tensor]:
        return {"copy": self._copy}

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self._copy = tensors["copy"]


class SharedParameter(HeldParameter):
    """Values of which those that are not 0 share a few.

    Before `fix` each has a float copy and takes the level nearest to it; afterwards the assignment stays and the levels move.

    Args:
        bits: 2 ** bits values, or 2 ** bits - 1 steps.
        matrix: of a weight, not a bias. steps: levels on steps of a power of two.
    """

    def __init__(
        self,
        parameter: nn.Parameter,
        bits: int,
        *,
        quantiser: Literal["k-means", "uniform"],
        priced: bool,
        digits: int,
        matrix: bool = False,
        steps: bool = False,
    ) -> None:
        alive = parameter.detach().flatten().nonzero().flatten()
        self._zeros = parameter.numel() - len(alive)
        self._alive = alive if self._zeros else None  # places that are not 0 now; None: all
        self._digits, self.priced = digits, matrix and priced
        self._copy: torch.Tensor | None = self._gather(parameter)  # None: the assignment is fixed
        x = self._copy.numpy()
        self.spread, self.count = float(np.square(x.astype(np.float64)).mean()), len(x)
        if quantiser == "uniform" and matrix:
            self._quantiser = uniform(x, bits)
        elif quantiser == "uniform" or steps:
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
            together = levels.codes * float(levels.codes @ together)  # the levels move together, by one step
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
        """Writes the shared values and the zeros."""
        if self._alive is not None:
            parameter.zero_()
        self._scatter(parameter, self._each(self._quantiser.rounded(self._digits)))

    def _each(self, of_level: npt.NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(np.take(of_level.astype(np.float32), self._index))

    def _gather(self, tensor: torch.Tensor) -> torch.Tensor:
        """A copy of the values that are alive, in the order of the parameter's places, for any layout in memory."""
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
        stored = {"values": torch.from_numpy(self._quantiser.values), "index": torch.from_numpy(self._index)}
        return stored if self._copy is None else stored | {"copy": self._copy}

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self._quantiser = replace(self._quantiser, values=tensors["values"].numpy())
        self._index = tensors["index"].numpy()
        self._copy = tensors.get("copy")
