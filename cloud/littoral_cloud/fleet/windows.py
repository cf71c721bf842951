"""What a node may report: a limited number of models, over all its sessions, and counts by class that its models have.

The limit of models: every model that was desired of it, and a few more. Pure; cloud/littoral_cloud/fleet/telemetry_desk.py asks.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from littoral.errors import BadInput
from littoral_cloud.fleet.records import Artifact
from littoral_cloud.fleet.telemetry import MAX_CLASSES, WindowReport

MODELS = "node-models"
"""Kind: the models that a node has reported, by its id."""
OTHERS = 8
"""Models beyond the desired ones that a node may report: it may know more than a cloud that was set up anew."""
UNKNOWN_CLASSES = 1_024
"""Classes of a model of which nothing is known here, at most, that are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeModels:
    """By name. `wanted`: of those, the ones that were wanted of the node when it reported them first."""

    wanted: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    schema: int = 1


def with_model(known: NodeModels, model: str, desired: Collection[str]) -> NodeModels | None:
    """With a model that the node reports for the first time; None where that is one too many."""
    if model in desired:
        return replace(known, wanted=tuple(sorted({*known.wanted, model})))
    if len(known.others) < OTHERS or model in known.others:
        return replace(known, others=tuple(sorted({*known.others, model})))
    return None


def with_its_classes(report: WindowReport, classes: int | None) -> WindowReport:
    """The report, without its counts by class where the model is unknown here and they are very many.

    Args:
        classes: how many the model has; None: it is unknown here.

    Raises BadInput where it counts more classes than the model has.
    """
    counted = len(report.class_counts)
    if classes is None:
        return replace(report, class_counts=()) if counted > UNKNOWN_CLASSES else report
    if counted > classes:
        raise BadInput(f"telemetry.class_counts: {counted} counts, {report.model} has {classes} classes")
    return report


def classes_of(artifact: Artifact) -> int:
    """MAX_CLASSES where it was written before its classes were."""
    labels = artifact.interface.labels if artifact.interface else ()
    return max(len(labels), len(artifact.class_accuracy)) or MAX_CLASSES
