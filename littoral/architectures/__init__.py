"""The networks that the cloud trains and the nodes fine-tune, by name.

A new one is one file with a function `build(*, channels, height, width, classes, PARAMETERS...)` that opens with its paper, and
one line in REGISTRY. torch is imported when one is built, not when this is. Every layer has a name (pnnx writes Python that
does not import where layers have numbers), every network takes (n, channels, height, width) float32 as manifest.Input prepares
it, and gives (n, classes) logits.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from littoral.errors import BadInput

if TYPE_CHECKING:
    from torch import nn

REGISTRY: Mapping[str, str] = {
    "compact_cnn": "littoral.architectures.compact_cnn",
    "mobilenet": "littoral.architectures.mobilenet",
    "perceptron": "littoral.architectures.perceptron",
    "squeezenet": "littoral.architectures.squeezenet",
}
_GIVEN = frozenset({"channels", "height", "width", "classes"})


def build(spec: Mapping[str, Any], *, channels: int, height: int, width: int, classes: int) -> nn.Module:
    """A new network with weights drawn from torch's generator, in training mode.

    Args:
        spec: {"name": one of REGISTRY, and the architecture's own parameters}, as it stands in a manifest.
        channels, height, width: of one input; pixels.
        classes: how many logits.

    Raises:
        BadInput: the name is unknown, or a parameter is unknown or wrong; names it and what is known.
    """
    name = spec.get("name")
    if not isinstance(name, str) or name not in REGISTRY:
        raise BadInput(f"architecture.name: {name!r} is not known", hint=f"one of {', '.join(sorted(REGISTRY))}")
    make = importlib.import_module(REGISTRY[name]).build
    known = set(inspect.signature(make).parameters) - _GIVEN
    given = {key: value for key, value in spec.items() if key != "name"}
    if unknown := sorted(set(given) - known):
        raise BadInput(f"architecture.{unknown[0]}: {name} has no such parameter", hint=f"it has {', '.join(sorted(known))}")
    network: nn.Module = make(channels=channels, height=height, width=width, classes=classes, **given)
    return network
