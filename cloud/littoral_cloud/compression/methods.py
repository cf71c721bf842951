"""The methods that a recipe may name. A new one is a file with a frozen dataclass (see method.py) and one line here."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from littoral import decoder, type_words
from littoral.errors import BadInput
from littoral_cloud.compression.method import Method

METHODS: Mapping[str, str] = {
    "magnitude": "littoral_cloud.compression.magnitude_pruning:Magnitude",
    "channels": "littoral_cloud.compression.channel_pruning:Channels",
    "saliency": "littoral_cloud.compression.saliency_pruning:Saliency",
    "qat": "littoral_cloud.compression.qat:Qat",
    "weight-sharing": "littoral_cloud.compression.weight_sharing:WeightSharing",
}


def method_class(kind: str, registry: Mapping[str, str] = METHODS) -> type[Method]:
    """The class behind a name. Imports its module, and with it torch."""
    module, _, name = registry[kind].partition(":")
    found: type[Method] = getattr(importlib.import_module(module), name)
    return found


def method_from(
    table: Mapping[str, Any], at: str, *, student: Mapping[str, Any] | None = None, registry: Mapping[str, str] = METHODS
) -> Method:
    """One method of a recipe: `kind` says which, the other keys are its fields.

    Args:
        student: the table of its student, whose schedule and seed are the method's as far as it does not say otherwise.

    Raises:
        BadInput: the kind is missing or unknown, or a field is unknown or wrong; names it.
    """
    kind = table.get("kind")
    if not isinstance(kind, str) or kind not in registry:
        problem = f"{kind!r} is not known" if "kind" in table else "is missing"
        raise BadInput(f"{at}.kind: {problem}", hint=f"{type_words.nearest(str(kind), registry)}one of {', '.join(registry)}")
    settings = {key: value for key, value in table.items() if key != "kind"}
    return decoder.decode(method_class(kind, registry), _inherited(settings, student or {}), f"{at}.{kind}")


def _inherited(settings: Mapping[str, Any], student: Mapping[str, Any]) -> dict[str, Any]:
    own, usual = settings.get("schedule", {}), student.get("schedule", {})
    if isinstance(own, Mapping) and isinstance(usual, Mapping):
        own = {**usual, **own}
    return {"seed": student.get("seed", 1), **settings, "schedule": own}
