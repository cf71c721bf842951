"""What the API tells of an artifact's quality, as the values that tables are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from littoral import decoder
from littoral.metric import Metric, worst_of


def metric_of(told: Mapping[str, Any] | None) -> Metric | None:
    """None: the accuracy says it."""
    return decoder.decode(Metric, told, "metric") if told is not None else None


def worst_class_of(accuracy: Mapping[str, float]) -> tuple[str, float] | None:
    """(label, accuracy) of the class that it is worst at; None where that was not measured."""
    return worst_of(tuple(accuracy), tuple(accuracy.values())) if accuracy else None
