"""Makes a network compute as its int8 artifact will: weights on a grid for each channel, values between layers on 256 steps.

B. Jacob et al.: Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference, CVPR 2018,
https://arxiv.org/abs/1712.05877 (section 3). Gradients pass the rounding unchanged: Y. Bengio, N. Leonard, A. Courville, 2013,
https://arxiv.org/abs/1308.3432. In a spec it is "quantized": true. The ranges of values are buffers: they travel with the
weights, and the exporter uses those of the training.

The input is rounded, and the output of each layer, sum, concatenation or mean (after its rectifier, where it has one), but not
the logits. Maxima, reshapes, shuffles and rectifiers move values and make none.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn

from littoral.architectures.layers import convolution_like
from littoral.architectures.tracing import traced

FIELD = "quantized"
WEIGHT_STEPS = 64
"""Weights are -64 to 64 steps: CPUs without VNNI add pairs of products in 16 bits, which -127 to 127 would overflow."""
VALUE_STEPS = 255

_RECTIFIERS = (nn.ReLU, nn.ReLU6)
_MOVES = (*_RECTIFIERS, nn.MaxPool2d, nn.Flatten, nn.ChannelShuffle, nn.Identity, nn.Dropout, nn.Dropout2d)
_MAKES: frozenset[Any] = frozenset(
    {operator.add, operator.iadd, torch.add, operator.mul, torch.mul, torch.cat, torch.mean, "add", "mul", "mean"}
)
_MOMENTUM = 0.01  # of a batch, for a range
_LEAST = 2.0**-24  # of a step, where all is zero


def weight_scale(weight: torch.Tensor) -> torch.Tensor:
    """(out,): the step of each channel, so that its largest weight is WEIGHT_STEPS of them."""
    return (weight.detach().abs().flatten(1).amax(1) / WEIGHT_STEPS).clamp_min(_LEAST)


def on_grid(weight: torch.Tensor) -> torch.Tensor:
    """Each channel rounded to its steps."""
    scale = weight_scale(weight)
    zero = torch.zeros(len(scale), dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -WEIGHT_STEPS, WEIGHT_STEPS)


class QuantizedConv2d(nn.Conv2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self._conv_forward(x, on_grid(self.weight), self.bias)
        return answer


class QuantizedLinear(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(x, on_grid(self.weight), self.bias)


class Quantizer(nn.Module):
    """Rounds values to 256 steps, 0 among them, over a range that follows the values while training."""

    low: torch.Tensor
    high: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.measuring = False  # do not round, and widen the range to hold all values
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("high", torch.ones(()))

    def steps(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The step (float32) and the zero point, the number of the step that is 0 (int32)."""
        low, high = self.low.clamp_max(0.0), self.high.clamp_min(0.0)
        scale = ((high - low) / VALUE_STEPS).clamp_min(_LEAST)
        return scale, torch.round(-low / scale).clamp(0, VALUE_STEPS).to(torch.int32)

    @torch.no_grad()
    def _look(self, x: torch.Tensor) -> None:
        least, most = torch.aminmax(x)
        if self.measuring:
            self.low.copy_(torch.minimum(self.low, least))
            self.high.copy_(torch.maximum(self.high, most))
        else:
            self.low.lerp_(least, _MOMENTUM)
            self.high.lerp_(most, _MOMENTUM)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.measuring or self.training:
            self._look(x)
        if self.measuring:
            return x
        scale, zero = self.steps()
        return torch.fake_quantize_per_tensor_affine(x, scale, zero, 0, VALUE_STEPS)


def quantized(network: nn.Module) -> nn.Module:
    """The network with all convolutions and linear layers on their grid, and a Quantizer after all that makes values. The
    layers have the same names and share their weights with `network`."""
    graph = traced(network)
    for place in _places(graph):
        name = f"quantize_{place.name}"
        graph.add_submodule(name, Quantizer())
        with graph.graph.inserting_after(place):
            step = graph.graph.call_module(name, (place,))
        for user in [user for user in place.users if user is not step]:
            user.replace_input_with(place, step)
    for name, layer in list(graph.named_modules()):
        if isinstance(layer, nn.Conv2d):
            graph.set_submodule(name, _conv(QuantizedConv2d, layer))
        elif isinstance(layer, nn.Linear):
            graph.set_submodule(name, _linear(QuantizedLinear, layer))
    graph.recompile()
    return graph.train(network.training)


def plain(network: nn.Module, instead: Callable[[Quantizer], nn.Module] = lambda _: nn.Identity()) -> nn.Module:
    """Ordinary layers with weights on their grid, and `instead` in place of each Quantizer; changes the network."""
    for name, layer in list(network.named_modules()):
        if isinstance(layer, Quantizer):
            network.set_submodule(name, instead(layer))
        elif isinstance(layer, QuantizedConv2d):
            network.set_submodule(name, _conv(nn.Conv2d, layer, on_grid(layer.weight.detach())))
        elif isinstance(layer, QuantizedLinear):
            network.set_submodule(name, _linear(nn.Linear, layer, on_grid(layer.weight.detach())))
    return network


def quantizers(network: nn.Module) -> list[Quantizer]:
    return [layer for layer in network.modules() if isinstance(layer, Quantizer)]


def _places(graph: fx.GraphModule) -> list[fx.Node]:
    """The nodes after which values are rounded, in the order of the graph."""
    layers = dict(graph.named_modules())

    def layer_of(node: fx.Node) -> nn.Module | None:
        return layers[str(node.target)] if node.op == "call_module" else None

    def makes(node: fx.Node) -> bool:
        if node.op == "call_module":
            return not isinstance(layer_of(node), _MOVES)
        return node.op == "placeholder" or (node.op in ("call_function", "call_method") and node.target in _MAKES)

    def answers(node: fx.Node) -> bool:
        """Its output is in the logits, with no layer between."""
        return any(user.op == "output" or (not makes(user) and answers(user)) for user in node.users)

    found = []
    for node in graph.graph.nodes:
        if not makes(node) or answers(node):
            continue
        users = list(node.users)
        rectified = len(users) == 1 and isinstance(layer_of(users[0]), _RECTIFIERS)
        found.append(users[0] if rectified else node)
    return found


def _conv(make: type[nn.Conv2d], layer: nn.Conv2d, weight: torch.Tensor | None = None) -> nn.Conv2d:
    new = convolution_like(layer, (layer.out_channels, layer.in_channels, layer.groups), make, "meta")
    new.weight, new.bias = layer.weight if weight is None else nn.Parameter(weight), layer.bias
    return new


def _linear(make: type[nn.Linear], layer: nn.Linear, weight: torch.Tensor | None = None) -> nn.Linear:
    new = make(layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
    new.weight, new.bias = layer.weight if weight is None else nn.Parameter(weight), layer.bias
    return new
