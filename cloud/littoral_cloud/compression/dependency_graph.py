"""Who reads whom: which inputs of each layer hold which outputs of the layers before it, whatever lies between.

Found by running a copy of the network, not by reading its code: every convolution and linear layer answers zeros, some outputs of
one layer are NaN, and where a NaN comes in, that output is read. So additions, concatenations, shuffles, pooling and flattening
need no rules of their own. The outputs of a layer are told apart by the bits of their numbers, two runs a bit: a layer of 1,000
costs a batch of 20 inputs.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from littoral.errors import BadInput
from littoral_cloud.training.seeding import computing

Layer = nn.Conv2d | nn.Linear
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def layers_of(module: nn.Module) -> dict[str, Layer]:
    """Its convolutions and linear layers by name, in its own order: those whose weights can be pruned."""
    return {name: layer for name, layer in module.named_modules() if isinstance(layer, Layer)}


@dataclass(frozen=True, slots=True, eq=False)
class DependencyGraph:
    """`reads[a][b]`: (outputs of a, inputs of b), True where output i of `a` is in input k of `b`; `answers[a]`: (outputs of a,),
    True where it is in the network's answer without another layer between. Norms stand among `a` too. Where one input holds
    several outputs of one layer it may say too much, never too little."""

    reads: Mapping[str, Mapping[str, torch.Tensor]]
    answers: Mapping[str, torch.Tensor]
    seen: Mapping[str, torch.Tensor]  # (inputs of b,): what the network was given is in there, without a layer between

    def dead(self, module: nn.Module, kept: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """What no longer counts once only `kept` weights do (masks by layer name, (out, in / groups, ...), True where kept).

        A neuron without an incoming weight only says a constant, so nobody need read it; one that nobody reads need not be
        computed. Gives, by parameter name, True for each weight that goes for one of these reasons, and for the bias, scale and
        shift of what nobody reads; those change no answer, constants may, so training goes on after this.
        """
        layers = layers_of(module)
        alive = {name: kept[name].clone() if name in kept else layer.weight != 0 for name, layer in layers.items()}
        before = {name: mask.clone() for name, mask in alive.items()}
        while True:
            count = sum(int(mask.sum()) for mask in alive.values())
            for name, layer in layers.items():
                alive[name] &= ~_over_inputs(layer, self._silent(name, alive))
            unread = {name: self._unread(name, layers, alive) for name in self.reads}
            for name in layers:
                alive[name][unread[name]] = False
            if count == sum(int(mask.sum()) for mask in alive.values()):
                break
        gone = {f"{name}.weight": before[name] & ~alive[name] for name in layers}
        parameters = dict(module.named_parameters())
        for name, nobody in unread.items():
            for kind in ("bias",) if name in layers else ("weight", "bias"):
                if f"{name}.{kind}" in parameters:
                    gone[f"{name}.{kind}"] = nobody
        return {name: where for name, where in gone.items() if where.any()}

    def _silent(self, reader: str, alive: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """(inputs,): all that is in there are constants."""
        read = ~self.seen[reader]
        anything = self.seen[reader].clone()
        for name, readers in self.reads.items():
            if reader in readers and name in alive:  # a norm only passes on
                there = readers[reader]
                anything |= there.any(0)
                speaks = alive[name].flatten(1).any(1)
                read &= ~(there & speaks[:, None]).any(0)
        return read & anything

    def _unread(self, name: str, layers: Mapping[str, Layer], alive: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """(outputs,): no weight of any layer multiplies it, and it is no answer."""
        read = self.answers[name].clone()
        for reader, there in self.reads[name].items():
            read |= (there & _inputs_used(layers[reader], alive[reader])[None, :]).any(1)
        return ~read


def dependency_graph_of(module: nn.Module, shape: tuple[int, ...], *, threads: int = 1) -> DependencyGraph:
    """Of a network that takes (n, *shape). The network is not changed.

    Raises BadInput where something between the layers lets no NaN through, as rounding to a grid does; names the layer before it.
    """
    reads: dict[str, Mapping[str, torch.Tensor]] = {}
    answers: dict[str, torch.Tensor] = {}
    network = copy.deepcopy(module).eval()
    probes: dict[str, _Probe] = {}
    for name, layer in list(network.named_modules()):
        if isinstance(layer, (nn.Conv2d, nn.Linear, *_NORMS)):
            probes[name] = _Probe(layer)
            network.set_submodule(name, probes[name])
    readers = {name: probe for name, probe in probes.items() if isinstance(probe.layer, Layer)}
    with computing(threads), torch.no_grad():
        _run(network, readers, torch.full((1, *shape), torch.nan))
        # A layer that the network does not use reads nothing.
        readers = {name: probe for name, probe in readers.items() if probe.came is not None}
        seen = {name: torch.zeros(_inputs(layer), dtype=torch.bool) for name, layer in layers_of(module).items()}
        seen |= {name: probe.came[0] for name, probe in readers.items() if probe.came is not None}
        for name, probe in probes.items():
            reads[name], answers[name] = _read(network, probe, readers, shape)
            if name in readers and not reads[name] and not answers[name].any():
                raise BadInput(
                    f"dependency graph: what layer {name} of {type(module).__name__} gives is lost on its way",
                    hint="prune before values are rounded to a grid",
                )
    return DependencyGraph(reads, answers, seen)


class _Probe(nn.Module):
    """Stands where a layer was, once or several times: answers zeros, NaN at the poisoned outputs, and notes where a NaN came in.
    A norm that is not poisoned passes on what it is given."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.came: torch.Tensor | None = None  # (runs, inputs): where a NaN came into a layer, in the last run of the network
        self.poisoned: torch.Tensor | None = None  # (runs, outputs)
        self._sizes: dict[torch.Size, torch.Size] = {}  # of one answer, by that of one input

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if isinstance(self.layer, Layer):
            self.came = _nan(x) if self.came is None else self.came | _nan(x)
        elif self.poisoned is None:
            return x
        if x.shape[1:] not in self._sizes:
            self._sizes[x.shape[1:]] = self.layer(x[:1]).shape[1:]
        size = self._sizes[x.shape[1:]]
        zeros = x.new_zeros(len(x), *size)
        if self.poisoned is None:
            return zeros
        return zeros.masked_fill(self.poisoned.reshape(*self.poisoned.shape, *(1,) * (len(size) - 1)), torch.nan)


def _run(network: nn.Module, readers: Mapping[str, _Probe], x: torch.Tensor) -> torch.Tensor:
    for reader in readers.values():
        reader.came = None
    answer: torch.Tensor = network(x)
    return answer


def _read(
    network: nn.Module, probe: _Probe, readers: Mapping[str, _Probe], shape: tuple[int, ...]
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    outputs = _outputs(probe.layer)
    bits = max(1, (outputs - 1).bit_length())
    number = torch.arange(outputs)

    def decoded(nan: torch.Tensor) -> torch.Tensor:
        """(runs, inputs) to (outputs, inputs): an output is there where each of its bits says so."""
        there = torch.ones(outputs, nan.shape[1], dtype=torch.bool)
        for bit in range(bits):
            there &= nan[2 * bit + ((number >> bit) % 2)]
        return there

    # Run 2b poisons the outputs whose bit b is 0, run 2b + 1 those whose bit b is 1.
    probe.poisoned = torch.stack([(number >> (run // 2)) % 2 == run % 2 for run in range(2 * bits)])
    answer = _run(network, readers, torch.zeros(2 * bits, *shape))
    probe.poisoned = None
    reads = {name: decoded(reader.came) for name, reader in readers.items() if reader.came is not None}
    return {name: there for name, there in reads.items() if there.any()}, decoded(_nan(answer)).any(1)


def _nan(x: torch.Tensor) -> torch.Tensor:
    """(n, features, ...) to (n, features)."""
    return torch.isnan(x).flatten(2).any(2) if x.dim() > 2 else torch.isnan(x)


def _inputs(layer: Layer) -> int:
    return layer.in_channels if isinstance(layer, nn.Conv2d) else layer.in_features


def _outputs(layer: nn.Module) -> int:
    if isinstance(layer, nn.Conv2d):
        return layer.out_channels
    count = layer.out_features if isinstance(layer, nn.Linear) else layer.num_features
    assert isinstance(count, int)
    return count


def _over_inputs(layer: Layer, inputs: torch.Tensor) -> torch.Tensor:
    """(inputs,) to a mask over the layer's weights: those that multiply one of these inputs."""
    shape = layer.weight.shape
    groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
    rows = inputs.reshape(groups, -1).repeat_interleave(shape[0] // groups, 0)  # (out, in / groups)
    return rows.reshape(shape[0], shape[1], *(1,) * (len(shape) - 2)).expand(shape)


def _inputs_used(layer: Layer, alive: torch.Tensor) -> torch.Tensor:
    """(inputs,): a weight multiplies it."""
    groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
    used = alive.flatten(2).any(2) if alive.dim() > 2 else alive
    return used.reshape(groups, -1, used.shape[1]).any(1).reshape(-1)
