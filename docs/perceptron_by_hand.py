"""A perceptron formula by formula, in plain numpy: forward, mean squared error, backward, one step of descent.

D. E. Rumelhart, G. E. Hinton, R. J. Williams: Learning representations by back-propagating errors, Nature 323, 1986,
https://doi.org/10.1038/323533a0. docs/perceptron.md derives each line for a net of 10, 20 and 5 units; the tests compare each
derivative with torch's autograd.

Throughout: n examples, one a row; layer l has d_l units and takes d_(l-1) values, and d_0 is the input's size. Its weights W_l
are (d_l, d_(l-1)), as in torch.nn.Linear, its biases b_l (d_l,). z_l are its sums and a_l its outputs, both
(n, d_l); a_0 is the input x. The targets y are (n, d_L).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from littoral.errors import BadInput

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Activation:
    """A function of each number, and its derivative, given both z and a = f(z)."""

    of: Callable[[Array], Array]
    slope: Callable[[Array, Array], Array]


ACTIVATIONS: Mapping[str, Activation] = {
    "identity": Activation(lambda z: z, lambda z, _a: np.ones_like(z)),
    # At exactly 0, where it has no derivative, 0 as in torch.
    "relu": Activation(lambda z: np.maximum(z, 0.0), lambda z, _a: (z > 0.0).astype(z.dtype)),
    "sigmoid": Activation(lambda z: 1.0 / (1.0 + np.exp(-z)), lambda _z, a: a * (1.0 - a)),
    "tanh": Activation(np.tanh, lambda _z, a: 1.0 - a * a),
}


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    weight: Array  # (d_l, d_(l-1))
    bias: Array  # (d_l,)
    activation: str = "relu"

    def __post_init__(self) -> None:
        if self.activation not in ACTIVATIONS:
            raise BadInput(f"activation: {self.activation!r} is not known", hint=f"one of {', '.join(ACTIVATIONS)}")
        if self.weight.ndim != 2 or self.bias.shape != self.weight.shape[:1]:
            raise BadInput(f"layer: weight {self.weight.shape} and bias {self.bias.shape} do not fit together")


@dataclass(frozen=True, slots=True, eq=False)
class ForwardPass:
    """The results of a layer for a batch."""

    z: Array  # (n, d_l): its sums
    a: Array  # (n, d_l): its outputs


@dataclass(frozen=True, slots=True, eq=False)
class Gradient:
    """The derivatives of the loss by all that a layer has and computes; each has the shape of its variable."""

    z: Array  # (n, d_l)
    a: Array  # (n, d_l)
    weight: Array  # (d_l, d_(l-1))
    bias: Array  # (d_l,)


def forward(layers: Sequence[Layer], x: Array) -> list[ForwardPass]:
    """z_l = a_(l-1) W_l^T + b_l, and a_l = f_l(z_l), for each layer in turn; x is (n, d_0).

    Raises:
        BadInput: a layer does not take the outputs of the one before.
    """
    passed: list[ForwardPass] = []
    a = x
    for number, layer in enumerate(layers, 1):
        if a.ndim != 2 or a.shape[1] != layer.weight.shape[1]:
            raise BadInput(f"layer {number}: takes {layer.weight.shape[1]} values, is given {a.shape}")
        z = a @ layer.weight.T + layer.bias  # (n, d_(l-1)) (d_(l-1), d_l) + (d_l,) = (n, d_l)
        a = ACTIVATIONS[layer.activation].of(z)
        passed.append(ForwardPass(z, a))
    return passed


def squared_error(a: Array, y: Array) -> float:
    """L = 1 / (n d_L) * sum of (a - y)^2: the mean over examples and outputs, as in torch.nn.MSELoss."""
    if a.shape != y.shape:
        raise BadInput(f"targets: {y.shape}, the last layer gives {a.shape}")
    return float(np.mean((a - y) ** 2))


def backward(layers: Sequence[Layer], x: Array, passed: Sequence[ForwardPass], y: Array) -> list[Gradient]:
    """The derivatives of `squared_error` by the chain rule, from the last layer to the first; returned in the layers' order."""
    gradients: list[Gradient] = []
    da = 2.0 * (passed[-1].a - y) / y.size  # (n, d_L)
    for at in reversed(range(len(layers))):
        layer, made = layers[at], passed[at]
        given = passed[at - 1].a if at else x  # a_(l-1), (n, d_(l-1))
        dz = da * ACTIVATIONS[layer.activation].slope(made.z, made.a)  # (n, d_l)
        dw = dz.T @ given  # (d_l, n) (n, d_(l-1)) = (d_l, d_(l-1))
        db = dz.sum(axis=0)  # (d_l,): each example adds the same bias
        gradients.append(Gradient(dz, da, dw, db))
        da = dz @ layer.weight  # (n, d_l) (d_l, d_(l-1)) = (n, d_(l-1)): for the layer before
    return gradients[::-1]


def descended(layers: Sequence[Layer], gradients: Sequence[Gradient], rate: float) -> list[Layer]:
    """One step of stochastic gradient descent: W - rate * dL/dW, b - rate * dL/db, of each layer."""
    return [
        replace(layer, weight=layer.weight - rate * gradient.weight, bias=layer.bias - rate * gradient.bias)
        for layer, gradient in zip(layers, gradients, strict=True)
    ]


def example() -> tuple[list[Layer], Array, Array]:
    """The net and the two examples of docs/perceptron.md: 10 inputs, 20 rectified units, 5 outputs; no random number.

    With i, j and r from 0: W1[i, j] = ((3i + 5j) mod 11 - 5) / 20, b1[i] = (i mod 3 - 1) / 10,
    W2[i, j] = ((2i + 7j) mod 13 - 6) / 20, b2[i] = (i mod 2) / 10, x[r, j] = ((r + 1)(j + 2) mod 7 - 3) / 3, and y[r, k] is 1
    where k = 2r + 1, else 0.
    """

    def grid(rows: int, columns: int, cell: Callable[[Any, Any], Any]) -> Array:
        return np.asarray(np.fromfunction(cell, (rows, columns), dtype=np.int64), np.float64)

    hidden = Layer(
        grid(20, 10, lambda i, j: ((3 * i + 5 * j) % 11 - 5) / 20), grid(1, 20, lambda _, i: (i % 3 - 1) / 10)[0], "relu"
    )
    output = Layer(
        grid(5, 20, lambda i, j: ((2 * i + 7 * j) % 13 - 6) / 20), grid(1, 5, lambda _, i: (i % 2) / 10)[0], "identity"
    )
    x = grid(2, 10, lambda r, j: ((r + 1) * (j + 2) % 7 - 3) / 3)
    y = grid(2, 5, lambda r, k: k == 2 * r + 1)
    return [hidden, output], x, y
