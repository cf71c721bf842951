"""The networks that the cloud trains and the nodes fine-tune, by name.

A new one is one file that opens with its paper, with a function `build(*, channels, height, width, classes, PARAMETERS...)` whose
defaults are the paper's and a spec SMALL for 28x28 pixels and one CPU core; and one line in REGISTRY. `build` imports torch, this
module does not. Every layer has a name (pnnx writes Python that does not import where layers have numbers). Every network takes
(n, channels, height, width) float32, as Input.prepare gives it, and returns (n, classes) logits; TAKES names other inputs: a
table, (n, features), or series, (n, channels, steps).
"""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

from littoral.architectures.parameters import switch
from littoral.errors import BadInput

if TYPE_CHECKING:
    from torch import nn

REGISTRY: Mapping[str, str] = {
    "compact_cnn": "littoral.architectures.compact_cnn",
    "depthwise_1d": "littoral.architectures.depthwise_1d",
    "lenet5": "littoral.architectures.lenet5",
    "lenet_300_100": "littoral.architectures.lenet_300_100",
    "linear": "littoral.architectures.linear",
    "mobilenet_v1": "littoral.architectures.mobilenet_v1",
    "mobilenet_v2": "littoral.architectures.mobilenet_v2",
    "perceptron": "littoral.architectures.perceptron",
    "recurrent_cnn": "littoral.architectures.recurrent_cnn",
    "residual": "littoral.architectures.residual",
    "shufflenet_v1": "littoral.architectures.shufflenet_v1",
    "shufflenet_v2": "littoral.architectures.shufflenet_v2",
    "squeezenet": "littoral.architectures.squeezenet",
}
_GIVEN = frozenset({"channels", "height", "width", "classes"})
_CHANGES = ("folded", "pruned", "quantized")  # changes by methods, in the order in which `build` repeats them


def build(spec: Mapping[str, Any], *, channels: int, height: int, width: int, classes: int) -> nn.Module:
    """A new network with weights drawn from torch's generator, in training mode.

    Args:
        spec: {"name": one of REGISTRY, and the architecture's own parameters}, as in a manifest. Methods add "pruned"
            (pruned.py), "folded" (folded.py) and "quantized" (quantized.py).
        channels, height, width: of one input; pixels.
        classes: the number of logits.

    Raises:
        BadInput: the name is unknown, a parameter is unknown or wrong, or the network cannot take inputs of this size; names
            the field and what is known.
    """
    name = spec.get("name")
    make = _module(name).build
    known = set(inspect.signature(make).parameters) - _GIVEN
    given = {key: value for key, value in spec.items() if key not in ("name", *_CHANGES)}
    if unknown := sorted(set(given) - known):
        raise BadInput(f"architecture.{unknown[0]}: {name} has no such parameter", hint=f"it has {', '.join(sorted(known))}")
    for field, size in (("channels", channels), ("height", height), ("width", width), ("classes", classes)):
        if not isinstance(size, int) or size < 1:
            raise BadInput(f"{field}: {size!r} must be a whole number of at least 1")
    network: nn.Module = make(channels=channels, height=height, width=width, classes=classes, **given)
    if switch("folded", spec.get("folded", False)):
        network = importlib.import_module("littoral.architectures.folded").folded(network)
    if "pruned" in spec:
        resized = importlib.import_module("littoral.architectures.pruned").resized
        network = resized(network, spec["pruned"], (channels, height, width), classes)
    if switch("quantized", spec.get("quantized", False)):
        network = importlib.import_module("littoral.architectures.quantized").quantized(network)
    return network


def sizes_of(spec: Mapping[str, Any], shape: tuple[int, ...]) -> dict[str, int]:
    """Channels, height and width for `build`, of inputs of this shape. The features of a table are channels of one pixel, a
    series is one row.

    Raises:
        BadInput: this architecture does not take such inputs; names those that do.
    """
    kind = {1: "table", 2: "series"}.get(len(shape), "images")
    if kind not in takes(spec.get("name")):
        able = [name for name in sorted(REGISTRY) if kind in takes(name)]
        raise BadInput(
            f"architecture.name: {spec.get('name')} takes {' or '.join(takes(spec.get('name')))}, "
            f"the data are {'a table' if kind == 'table' else kind} of shape {list(shape)}",
            hint=f"for these: {', '.join(able)}",
        )
    channels, height, width = {1: (*shape, 1, 1), 2: (shape[0], 1, shape[-1])}.get(len(shape), shape)
    return {"channels": channels, "height": height, "width": width}


def takes(name: Any) -> tuple[str, ...]:
    """The kinds of inputs of an architecture: "images", "table", "series". Raises BadInput: the name is unknown."""
    kinds: tuple[str, ...] = getattr(_module(name), "TAKES", ("images",))
    return kinds


def small_spec(name: str) -> dict[str, Any]:
    """A spec for inputs of about 28x28 pixels: some thousand to some ten thousand parameters, which learn MNIST in minutes on one
    core. The defaults of an architecture are the paper's net for the paper's images.

    Raises:
        BadInput: the name is unknown.
    """
    cut: dict[str, Any] = json.loads(json.dumps(_module(name).SMALL))  # a copy, and lists where there are tuples
    return {"name": name, **cut}


def parameters_of_build(name: str) -> dict[str, Any]:
    """The parameters of this architecture's spec and their defaults. Raises BadInput: the name is unknown."""
    known = inspect.signature(_module(name).build).parameters
    return {key: parameter.default for key, parameter in known.items() if key not in _GIVEN}


def _module(name: Any) -> ModuleType:
    if not isinstance(name, str) or name not in REGISTRY:
        raise BadInput(f"architecture.name: {name!r} is not known", hint=f"one of {', '.join(sorted(REGISTRY))}")
    return importlib.import_module(REGISTRY[name])
