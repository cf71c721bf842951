"""A student whose norms are folded, where quantization and weight sharing begin; and biases that another one can say as well."""

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
    """A copy of it, as littoral.architectures.build makes it of its new spec; the same function."""
    module = copy.deepcopy(student.module).eval()
    spec = folded_spec(student.spec, module)
    return Trained.of(student.name, folded(module), spec, student.input, student.seconds)


def move_biases(module: nn.Module, x: torch.Tensor, *, threads: int = 1) -> list[str]:
    """Adds each bias that does no more than shift what the next layers give to those layers' own biases, and makes it 0: the same
    function in fewer bytes. So it is where nothing, or a pool alone, lies between two layers: max(x + b) is max(x) + b.

    Found by running the network with and without the bias, on these inputs and on noise much larger than they are: where the
    difference is one value for each output, wherever and on whatever, it is moved; a rectifier or a padded edge shows.

    Args:
        module: is changed. x: a few prepared inputs, (n, C, H, W).

    Returns:
        The layers whose biases are 0 now.
    """
    graph = dependency_graph_of(module, tuple(x.shape[1:]), threads=threads)
    exact = copy.deepcopy(module).double().eval()  # in which a small bias shows beside large values
    layers, parameters = layers_of(exact), dict(module.named_parameters())
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0)) * 10 * x.abs().amax().clamp_min(1e-6)
    seen = torch.cat([x, noise, -noise]).double()
    moved = []
    with computing(threads), torch.no_grad():
        for name, layer in layers.items():
            readers = {reader: layers[reader] for reader, there in graph.reads[name].items() if there.any()}
            said = graph.answers[name].any() or any(reader.bias is None for reader in readers.values())
            if layer.bias is None or said or not readers or not torch.count_nonzero(layer.bias):
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
    """By reader, what the layer's bias adds to each of its outputs; the bias is 0 then. None, and the bias stays, where it adds
    more than one value to an output."""
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
    """By name, what each layer gave in the last run."""
    given: dict[str, torch.Tensor] = {}
    hooks = [
        layer.register_forward_hook(lambda _m, _i, out, name=name: given.__setitem__(name, out)) for name, layer in layers.items()
    ]
    try:
        yield given
    finally:
        for hook in hooks:
            hook.remove()
