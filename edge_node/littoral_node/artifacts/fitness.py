"""Whether an artifact may run on this node: its runtime is here, and the node's budget allows it."""

from __future__ import annotations

from littoral.budget import Budget, worst_class_shortfall
from littoral.errors import BadManifest, FleetError
from littoral.manifest import Manifest


class RuntimeMissing(FleetError):
    """The artifact is for a runtime that this node does not have, or will not use."""

    code = "runtime-missing"


class OverBudget(FleetError):
    """The artifact is larger than this node allows, or its worst class is less accurate."""

    code = "over-budget"


def check_fitness(manifest: Manifest, model: str, runtimes: frozenset[str], budget: Budget) -> None:
    """Raises BadManifest, RuntimeMissing or OverBudget, naming the field."""
    if manifest.model != model:
        raise BadManifest(f"manifest.model: is {manifest.model!r}, wanted for {model!r}")
    check_runnable(manifest, runtimes)
    if budget.runtimes and manifest.runtime not in budget.runtimes:
        raise RuntimeMissing(f"manifest.runtime: {manifest.runtime}, this node uses {', '.join(budget.runtimes)} alone")
    if budget.artifact_bytes is not None and manifest.artifact_bytes > budget.artifact_bytes:
        raise OverBudget(f"manifest.files: {manifest.artifact_bytes} bytes, this node allows {budget.artifact_bytes}")
    label, worst = manifest.worst_class or ("", None)
    if (lost := worst_class_shortfall(worst, label, budget)) is not None:
        raise OverBudget(f"manifest.class_accuracy: {lost}, as this node's budget says")


def check_runnable(manifest: Manifest, runtimes: frozenset[str]) -> None:
    """Raises RuntimeMissing where this machine has no such runtime."""
    if manifest.runtime not in runtimes:
        have = ", ".join(sorted(runtimes)) or "none"
        raise RuntimeMissing(
            f"manifest.runtime: {manifest.runtime}, this node has {have}", hint="littoral-node doctor says how to get it"
        )
