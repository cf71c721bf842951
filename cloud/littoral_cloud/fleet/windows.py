"""One report of a node, of one window with one model, is added to the totals (littoral_cloud/fleet/telemetry) and to the drift of
its inputs (littoral_cloud/fleet/drift) in one Change. So both have a window or neither has it, and a report that is repeated
because its answer was lost counts once in both.

A node may report a limited number of models, over all its sessions: every model that was desired of it, and a few more.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass, replace
from enum import Enum, auto

from littoral.errors import BadInput
from littoral_cloud.fleet import drift
from littoral_cloud.fleet.allowance import NodeAllowance, commit
from littoral_cloud.fleet.edit import repeat_on_conflict
from littoral_cloud.fleet.ledger import Ledger, Write
from littoral_cloud.fleet.records import Artifact, Desired, dump, load
from littoral_cloud.fleet.telemetry import KIND, MAX_CLASSES, TelemetryTotals, WindowReport, fold, telemetry_id

MODELS = "node-models"
"""Kind: the models that a node has reported, by its id."""
OTHERS = 8
"""Models beyond the desired ones that a node may report: it may know more than a cloud that was set up anew."""
UNKNOWN_CLASSES = 1_024
"""Classes of a model of which nothing is known here, at most, that are counted."""


class Taken(Enum):
    COUNTED = auto()
    REPEATED = auto()
    OVER_THE_LIMIT = auto()  # one model too many


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeModels:
    """By name. `wanted`: of those, the ones that were wanted of the node when it reported them first."""

    wanted: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    schema: int = 1


async def take(
    ledger: Ledger,
    node_id: str,
    report: WindowReport,
    now: float,
    *,
    policy: drift.DriftPolicy | None = None,
    classes: MutableMapping[str, int] | None = None,
    allowance: NodeAllowance | None = None,
) -> Taken:
    """Counts a report once.

    Args:
        classes: how many classes artifacts have, by manifest digest, as far as that was looked up.
        allowance: how many lines of the audit trail the node may have for it; None: all.

    Raises:
        BadInput: it counts classes that its model does not have, or its number jumps.
        Unavailable: asking again is safe.
    """
    report = await _with_its_classes(ledger, report, {} if classes is None else classes)
    id = telemetry_id(node_id, report.model)

    async def attempt() -> Taken:
        doc = await ledger.get(KIND, id)
        after = fold(load(TelemetryTotals, doc) if doc else None, report, now)
        if after is None:
            return Taken.REPEATED
        writes = [Write(KIND, id, dump(after), doc.generation if doc else 0)]
        if doc is None:
            if (entered := await _entered(ledger, node_id, report.model)) is None:
                return Taken.OVER_THE_LIMIT
            writes.append(entered)
        inputs = await drift.change_of(ledger, node_id, report, now, policy=policy)
        await commit(ledger, (*writes, *inputs.writes), inputs.audit, allowance)
        return Taken.COUNTED

    return await repeat_on_conflict(attempt)


async def _entered(ledger: Ledger, node_id: str, model: str) -> Write | None:
    """The write that enters a model which the node reports for the first time; None where that is one too many."""
    doc = await ledger.get(MODELS, node_id)
    known = load(NodeModels, doc) if doc else NodeModels()
    desired = await ledger.get("desired", node_id)
    if desired is not None and model in load(Desired, desired).models:
        known = replace(known, wanted=tuple(sorted({*known.wanted, model})))
    elif len(known.others) < OTHERS or model in known.others:
        known = replace(known, others=tuple(sorted({*known.others, model})))
    else:
        return None
    return Write(MODELS, node_id, dump(known), doc.generation if doc else 0)


async def _with_its_classes(ledger: Ledger, report: WindowReport, classes: MutableMapping[str, int]) -> WindowReport:
    """The report, without its counts by class where the model is unknown here and they are very many. Raises BadInput where it
    counts more classes than the model has."""
    counted, digest = len(report.class_counts), report.manifest_digest
    if not counted:
        return report
    if digest not in classes and (found := await _classes_of(ledger, digest)) is not None:
        classes[digest] = found
    if digest not in classes:
        return replace(report, class_counts=()) if counted > UNKNOWN_CLASSES else report
    if counted > classes[digest]:
        raise BadInput(f"telemetry.class_counts: {counted} counts, {report.model} has {classes[digest]} classes")
    return report


async def _classes_of(ledger: Ledger, digest: str) -> int | None:
    """None where the artifact is not known; MAX_CLASSES where it is, and was written before its classes were."""
    doc = await ledger.get("artifact", digest) if digest else None
    if doc is None:
        return None
    artifact = load(Artifact, doc)
    labels = artifact.interface.labels if artifact.interface else ()
    return max(len(labels), len(artifact.class_accuracy)) or MAX_CLASSES
