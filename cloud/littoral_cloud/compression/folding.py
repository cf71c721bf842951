"""Folds batch norms into the layer before, as quantization and weight sharing need it, and moves biases into the next layer."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn

from littoral.architectures.folded import folded, folded_spec
from littoral_cloud.compression.dependency_graph import Layer, dependency_graph_of, layers_of
from littoral_cloud.training.seeding import computing
from littoral_cloud.training.train import Trained

_ROUNDING = 1e-6  # of a shift, in double precision: sums are rounded in another order


def folded_student(student: Trained) -> Trained:
    """A copy with folded norms: the same function, as littoral.architectures.build makes it from the new spec."""
    module = copy.deepcopy(student.module).eval()
    spec = folded_spec(student.spec, module)
    return Trained.of(student.name, folded(module), spec, student.input, student.seconds)


def move_biases(module: nn.Module, x: torch.Tensor, *, threads: int = 1) -> list[str]:
    """Adds each bias that only shifts the outputs of the next layers to the biases of those layers, and makes it 0: the same
    function in fewer bytes. This holds where nothing or a pool is between two layers, for max(x + b) is max(x) + b.

    It runs the network with and without the bias, on these inputs and on much larger noise. It moves the bias where the
    difference is the same at each place of an output and for each input; a rectifier or a padded edge makes it differ.

    Args:
        module: this changes it. x: a few prepared inputs, (n, C, H, W).

    Returns:
        The layers whose bias is 0 now.
    """
    graph = dependency_graph_of(module, tuple(x.shape[1:]), threads=threads)
    exact = copy.deepcopy(module).double().eval()  # a small bias counts beside large values
    layers, parameters = layers_of(exact), dict(module.named_parameters())
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0)) * 10 * x.abs().amax().clamp_min(1e-6)
    seen = torch.cat([x, noise, -noise]).double()
    moved = []
    with computing(threads), torch.no_grad():
        for name, layer in layers.items():
            readers = {reader: layers[reader] for reader, there in graph.reads[name].items() if there.any()}
            stays = graph.answers[name].any() or any(reader.bias is None for reader in readers.values())
            if layer.bias is None or stays or not readers or not torch.count_nonzero(layer.bias):
                continue
            for reader, shift in _shifts(exact, layer, readers, seen).items():
                _bias(readers[reader]).add_(shift)
                parameters[f"{reader}.bias"].copy_(_bias(readers[reader]))
            if not torch.count_nonzero(layer.bias):
                parameters[f"{name}.bias"].zero_()
                moved.append(name)
    return moved


def _bias(layer: Layer) -> torch.Tensor:
    assert layer.bias is not None
    return layer.bias


def _shifts(module: nn.Module, layer: Layer, readers: Mapping[str, Layer], x: torch.Tensor) -> dict[str, torch.Tensor]:
    """What the layer's bias adds to each output of each reader, by reader; the bias is then 0. Empty, and the bias stays,
    where it adds different values at different places."""
    bias = _bias(layer).clone()
    with _outputs(readers) as given:
        module(x)
        with_it = dict(given)
        _bias(layer).zero_()
        module(x)
    shifts = {}
    for name in readers:
        there = (with_it[name] - given[name]).movedim(1, 0).flatten(1)  # (outputs, all else)
        shifts[name] = there.mean(dim=1)
        if (there - shifts[name][:, None]).abs().max() > _ROUNDING * there.abs().max():
            _bias(layer).copy_(bias)
            return {}
    return shifts


@contextmanager
def _outputs(layers: Mapping[str, Layer]) -> Iterator[dict[str, torch.Tensor]]:
    """The outputs of each layer in the last run, by name."""
    given: dict[str, torch.Tensor] = {}
    hooks = [
        layer.register_forward_hook(lambda _m, _i, out, name=name: given.__setitem__(name, out)) for name, layer in layers.items()
    ]
    try:
        yield given
    finally:
        for hook in hooks:
            hook.remove()
