"""Which outputs of a layer are in which inputs of the next, for every architecture; and what is dead once weights are gone."""

from __future__ import annotations

import copy
import doctest
from collections.abc import Iterator, Mapping

import pytest
import torch
from torch import nn

from littoral.architectures import REGISTRY, build, small_spec
from littoral.errors import BadInput
from littoral_cloud.compression import dependency_graph
from littoral_cloud.compression.dependency_graph import dependency_graph_of, layers_of
from littoral_cloud.compression.magnitude_pruning import smallest
from littoral_cloud.training.seeding import computing

SHAPE = (1, 12, 12)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with computing(1):
        yield


def network(name: str, *, constants: bool) -> nn.Module:
    """With weights of which nine in ten are 0; `constants`: its biases and norms add something of their own."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        net = build(small_spec(name), channels=1, height=12, width=12, classes=3).eval()
        with torch.no_grad():
            for layer in net.modules():
                if isinstance(layer, nn.BatchNorm2d):
                    assert layer.running_mean is not None
                    layer.running_mean.normal_() if constants else layer.running_mean.zero_()
                if (bias := getattr(layer, "bias", None)) is not None:
                    bias.normal_() if constants else bias.zero_()
            for layer in layers_of(net).values():
                layer.weight.masked_fill_(smallest(layer.weight, round(0.9 * layer.weight.numel())), 0.0)
    return net


def without(net: nn.Module, gone: Mapping[str, torch.Tensor]) -> nn.Module:
    cut = copy.deepcopy(net)
    with torch.no_grad():
        for name, where in gone.items():
            cut.get_parameter(name).masked_fill_(where, 0.0)
    return cut


class Twisted(nn.Module):
    """Concatenates, shuffles, cuts in two, adds and flattens: what code does between layers."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(1, 3, 3, padding=1)
        self.b = nn.Conv2d(1, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)
        self.c = nn.Conv2d(6, 4, 1, groups=2)
        self.d = nn.Linear(2 * 16, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        both = torch.cat([self.a(x), self.norm(self.b(x))], 1)
        mixed = both.reshape(-1, 2, 3, 4, 4).transpose(1, 2).reshape(-1, 6, 4, 4)
        first, second = self.c(mixed).chunk(2, dim=1)
        out: torch.Tensor = self.d((first + second).flatten(1))
        return out


def test_outputs_are_found_where_they_are_read() -> None:
    graph = dependency_graph_of(Twisted(), (1, 4, 4))
    assert graph.reads["a"]["c"].nonzero().tolist() == [[0, 0], [1, 2], [2, 4]]
    assert graph.reads["b"]["c"].nonzero().tolist() == graph.reads["norm"]["c"].nonzero().tolist() == [[0, 1], [1, 3], [2, 5]]
    assert set(graph.reads["a"]) == {"c"}
    assert graph.reads["c"]["d"].nonzero().tolist() == [[i, 16 * (i % 2) + k] for i in range(4) for k in range(16)]
    assert graph.answers["d"].all()
    assert not graph.answers["c"].any()
    assert graph.from_input["a"].all()
    assert not graph.from_input["c"].any()


class Twice(nn.Module):
    """Uses one convolution at two places, of maps of two sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 3, 1)
        self.shared = nn.Conv2d(3, 3, 1)
        self.classify = nn.Linear(3 * 4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = nn.functional.max_pool2d(self.shared(self.stem(x)), 2)
        out: torch.Tensor = self.classify(self.shared(first.flip(1)).flatten(1))
        return out


def test_a_layer_that_is_used_twice_reads_at_both_places() -> None:
    graph = dependency_graph_of(Twice(), (1, 4, 4))
    assert graph.reads["stem"]["shared"].nonzero().tolist() == [[0, 0], [1, 1], [2, 2]]
    assert graph.reads["shared"]["shared"].nonzero().tolist() == [[0, 2], [1, 1], [2, 0]]
    assert graph.reads["shared"]["classify"].nonzero().tolist() == [[i, 4 * i + k] for i in range(3) for k in range(4)]


def test_who_reads_only_constants_and_who_is_read_by_nobody_goes() -> None:
    net = Twisted().eval()
    kept = {name: torch.ones_like(layer.weight, dtype=torch.bool) for name, layer in layers_of(net).items()}
    kept["a"][1] = False  # says a constant: input 2 of c
    kept["c"][2:, 2] = False  # nobody multiplies input 5 of c: output 2 of b
    gone = dependency_graph_of(net, (1, 4, 4)).dead(net, kept)
    assert gone["c.weight"].nonzero()[:, :2].tolist() == [[0, 2], [1, 2]]
    assert gone["b.weight"].flatten(1).all(1).tolist() == [False, False, True]
    assert gone["norm.weight"].tolist() == gone["norm.bias"].tolist() == gone["b.bias"].tolist() == [False, False, True]
    assert gone["a.bias"].tolist() == [False, True, False], "its reader went"
    assert set(gone) == {"c.weight", "b.weight", "b.bias", "a.bias", "norm.weight", "norm.bias"}


@pytest.mark.parametrize("name", REGISTRY)
def test_what_is_dead_changes_no_answer(name: str) -> None:
    """Where no neuron says a constant, all that goes is what multiplies 0 or is read by nobody."""
    net = network(name, constants=False)
    gone = dependency_graph_of(net, SHAPE).dead(net, {})
    x = torch.randn(8, *SHAPE, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(without(net, gone)(x), net(x))


@pytest.mark.parametrize("name", REGISTRY)
def test_what_nobody_reads_need_not_be_computed(name: str) -> None:
    net = network(name, constants=True)
    gone = dependency_graph_of(net, SHAPE).dead(net, {})
    layers = layers_of(net)
    cut = without(net, {k: v for k, v in gone.items() if k.rpartition(".")[0] in layers and k.endswith("weight")})
    x = torch.randn(8, *SHAPE, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(without(cut, gone)(x), cut(x))


def test_looking_at_a_network_does_not_change_it() -> None:
    net = network("mobilenet_v1", constants=True).train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    dependency_graph_of(net, SHAPE)
    assert net.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_a_network_that_rounds_between_its_layers_is_refused_by_the_layers_name() -> None:
    spec = {**small_spec("compact_cnn"), "folded": True, "quantized": True}
    with pytest.raises(BadInput, match=r"dependency graph: what layer features\.conv1 of \w+ gives is lost"):
        dependency_graph_of(build(spec, channels=1, height=12, width=12, classes=3), SHAPE)


def test_the_example_of_the_module_is_true() -> None:
    result = doctest.testmod(dependency_graph)
    assert (result.attempted, result.failed) == (2, 0)
