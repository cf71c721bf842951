"""The dependency graph of a network: which inputs of each layer hold which outputs of the layers before it.

It runs a copy of the network and reads no code, so additions, concatenations, shuffles, pooling and flattening between the
layers need no rules of their own. The rules, in order:

1. A probe takes the place of each convolution, linear layer and norm. The probe of a layer returns zeros of the layer's shape and
   notes into which of its inputs a NaN came; the probe of a norm returns what it got.
2. One run on NaN: the inputs that get a NaN hold the network's own input.
3. For each layer and norm, its probe returns NaN at some outputs, and the network runs on zeros. NaN survives all that is
   between two layers, and stops at the next one, whose probe returns zeros. So the inputs that get a NaN read one of these
   outputs.
4. Which one, their numbers tell: for each bit b of the numbers, run 2b has NaN at the outputs whose bit is 0, run 2b + 1 at those
   whose bit is 1. An input reads output i when it gets a NaN in the run of each bit of i. All runs are one batch: 1,000 outputs
   cost a batch of 20 inputs.
5. The same for the network's answer.

Layer a has 4 outputs, layer b reads them in reverse. Two bits are four runs, with NaN at outputs (0, 2), (1, 3), (0, 1) and
(2, 3). The first input of b gets a NaN in the second and the fourth: bits 1 and 1, so it reads output 3.

    >>> class Reversed(nn.Module):
    ...     def __init__(self) -> None:
    ...         super().__init__()
    ...         self.a, self.b = nn.Linear(2, 4), nn.Linear(4, 1)
    ...     def forward(self, x: torch.Tensor) -> torch.Tensor:
    ...         return self.b(self.a(x).flip(1))
    >>> dependency_graph_of(Reversed(), (2,)).reads["a"]["b"].nonzero().tolist()
    [[0, 3], [1, 2], [2, 1], [3, 0]]
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
    """The convolutions and linear layers of a network by name, in its order: pruning changes their weights."""
    return {name: layer for name, layer in module.named_modules() if isinstance(layer, Layer)}


@dataclass(frozen=True, slots=True, eq=False)
class DependencyGraph:
    """Boolean tensors by layer name; `a` may be a norm as well. Where one input holds several outputs of one layer, the graph
    may have too many of them, never too few.

    reads: `reads[a][b]`, (outputs of a, inputs of b): output i of `a` is in input k of `b`.
    answers: `answers[a]`, (outputs of a,): output i is in the network's answer, with no layer between.
    from_input: `from_input[b]`, (inputs of b,): the network's input is in input k, with no layer between.
    """

    reads: Mapping[str, Mapping[str, torch.Tensor]]
    answers: Mapping[str, torch.Tensor]
    from_input: Mapping[str, torch.Tensor]

    def dead(self, module: nn.Module, staying: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The weights that no longer matter once only the `staying` ones are left.

        A neuron without incoming weights is a constant, so its readers do not need it. A neuron without readers needs no weights.
        The bias, scale and shift of a neuron without readers go as well; this changes no answer. Removing constants may change
        answers, so train the network after this.

        Args:
            staying: masks by layer name, (out, in / groups, ...), True for a weight that stays.

        Returns:
            Masks by parameter name, True for what goes.
        """
        layers = layers_of(module)
        alive = {name: staying[name].clone() if name in staying else layer.weight != 0 for name, layer in layers.items()}
        before = {name: mask.clone() for name, mask in alive.items()}
        while True:
            count = sum(int(mask.sum()) for mask in alive.values())
            for name, layer in layers.items():
                alive[name] &= ~_over_inputs(layer, self._constant(name, alive))
            unread = {name: self._unread(name, layers, alive) for name in self.reads}
            for name in layers:
                alive[name][unread[name]] = False
            if count == sum(int(mask.sum()) for mask in alive.values()):
                break
        gone = {f"{name}.weight": before[name] & ~alive[name] for name in layers}
        parameters = dict(module.named_parameters())
        for name, neurons in unread.items():
            for kind in ("bias",) if name in layers else ("weight", "bias"):
                if f"{name}.{kind}" in parameters:
                    gone[f"{name}.{kind}"] = neurons
        return {name: where for name, where in gone.items() if where.any()}

    def _constant(self, reader: str, alive: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """(inputs,): those that hold nothing but constants."""
        constant = ~self.from_input[reader]
        anything = self.from_input[reader].clone()
        for name, readers in self.reads.items():
            if reader in readers and name in alive:  # a norm only passes on
                there = readers[reader]
                anything |= there.any(0)
                varies = alive[name].flatten(1).any(1)
                constant &= ~(there & varies[:, None]).any(0)
        return constant & anything

    def _unread(self, name: str, layers: Mapping[str, Layer], alive: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """(outputs,): those that no weight multiplies and that are in no answer."""
        read = self.answers[name].clone()
        for reader, there in self.reads[name].items():
            read |= (there & _inputs_used(layers[reader], alive[reader])[None, :]).any(1)
        return ~read


def dependency_graph_of(module: nn.Module, shape: tuple[int, ...], *, threads: int = 1) -> DependencyGraph:
    """The graph of a network that takes (n, *shape); the network itself stays as it is.

    Raises BadInput where something between the layers stops NaN, as rounding to a grid does; names the layer before it.
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
        # The network may have layers that it does not use.
        readers = {name: probe for name, probe in readers.items() if probe.came is not None}
        from_input = {name: torch.zeros(_inputs(layer), dtype=torch.bool) for name, layer in layers_of(module).items()}
        from_input |= {name: probe.came[0] for name, probe in readers.items() if probe.came is not None}
        for name, probe in probes.items():
            reads[name], answers[name] = _read(network, probe, readers, shape)
            if name in readers and not reads[name] and not answers[name].any():
                raise BadInput(
                    f"dependency graph: what layer {name} of {type(module).__name__} gives is lost on its way",
                    hint="prune before values are rounded to a grid",
                )
    return DependencyGraph(reads, answers, from_input)


class _Probe(nn.Module):
    """In place of a layer, which the network may use several times: returns zeros, NaN at the poisoned outputs, and notes
    where a NaN came in. The probe of a norm that is not poisoned returns what it got."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.came: torch.Tensor | None = None  # (runs, inputs): where a NaN came in, in the last run of the network
        self.poisoned: torch.Tensor | None = None  # (runs, outputs)
        self._sizes: dict[torch.Size, torch.Size] = {}  # of an output, by the size of the input

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
        """(runs, inputs) to (outputs, inputs): output i where each bit of i has a NaN."""
        there = torch.ones(outputs, nan.shape[1], dtype=torch.bool)
        for bit in range(bits):
            there &= nan[2 * bit + ((number >> bit) % 2)]
        return there

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
    """(inputs,) to a mask over the layer's weights: those that multiply these inputs."""
    shape = layer.weight.shape
    groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
    rows = inputs.reshape(groups, -1).repeat_interleave(shape[0] // groups, 0)  # (out, in / groups)
    return rows.reshape(shape[0], shape[1], *(1,) * (len(shape) - 2)).expand(shape)


def _inputs_used(layer: Layer, alive: torch.Tensor) -> torch.Tensor:
    """(inputs,): those that a weight multiplies."""
    groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
    used = alive.flatten(2).any(2) if alive.dim() > 2 else alive
    return used.reshape(groups, -1, used.shape[1]).any(1).reshape(-1)
