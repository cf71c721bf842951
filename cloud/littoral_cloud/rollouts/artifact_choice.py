"""Which of a release's artifacts a node gets, and why: pure functions over manifests and measurements.

The node's own measurement of a candidate decides; without one, the latest on another machine of the same hardware class. A
candidate that could not run on the node is excluded, even where it ran on other nodes.
"""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace

from littoral.budget import ESTIMATE, Budget, Measured, about_as_small, best_fit, excesses, latency_bucket
from littoral.errors import NoFit
from littoral.metric import Metric, score_of
from littoral_cloud.fleet.limits import beyond, takes
from littoral_cloud.fleet.measurements import MeasurementIndex, MeasurementRecord
from littoral_cloud.fleet.records import Artifact, Presence

LEAST = -math.inf
"""No floor."""
UNJUDGED = "its quality was never measured"
COMPARABLE = "import it with data, or --max-drop-vs-served 1 gives it all the same"
"""The way out for an artifact whose quality was never measured, where a floor is asked of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One candidate for one node. `out` names every limit that excludes it; figures are None where not measured."""

    manifest_digest: str
    name: str
    runtime: str
    accuracy: float
    worst_class: float | None  # accuracy of its worst class
    worst_label: str
    class_accuracy: Mapping[str, float]  # by label
    artifact_bytes: int
    p50_ms: float | None
    latency_ms: float | None  # p95
    p99_ms: float | None
    start_ms: float | None
    peak_rss_bytes: int | None
    energy_mj: float | None  # one inference
    energy_source: str  # littoral.budget.ESTIMATE: it limits nothing; "": nothing is known
    samples: int
    measured_on: str  # node id; "" where it was not measured
    measured_by: str  # "this node", or "its class": another machine of the same hardware class
    out: tuple[str, ...]
    why_not: str  # all of `out`, or why another one that fits was chosen; "" for the chosen one
    notes: tuple[str, ...]  # limits that could not be checked
    chosen: bool
    metric: Metric | None = None  # in place of accuracy, where the task is no classification
    in_release: bool = True  # in the one that the node follows, where it follows one

    @property
    def score(self) -> float:
        return score_of(self.accuracy, self.metric, self.class_accuracy)


def measurement_for(
    node_id: str, presence: Presence, manifest_digest: str, measurements: MeasurementIndex
) -> MeasurementRecord | None:
    """The node's own, a failure too; else the latest success on the same hardware class; else None."""
    own = measurements.of_node(manifest_digest, node_id)
    return own if own is not None else measurements.of_class(manifest_digest, presence.hardware_class)


def candidates_for(
    node_id: str, presence: Presence, artifacts: Sequence[Artifact], measurements: MeasurementIndex
) -> list[Measured]:
    """The artifacts that this node has a runtime for and that ran on its hardware class; in the order given."""
    found = []
    for artifact in artifacts:
        measured = measurement_for(node_id, presence, artifact.manifest_digest, measurements)
        if takes(artifact, presence) and measured is not None and not measured.failure:
            found.append(as_measured(artifact, measured))
    return found


def choose(
    node_id: str,
    presence: Presence,
    artifacts: Sequence[Artifact],
    measurements: MeasurementIndex,
    *,
    model: str,
    floor: float = LEAST,
    floor_is: str = "",
) -> Measured:
    """The best candidate inside the node's budget for the model.

    Args:
        floor: excludes candidates with a lower score; a fraction where the score is the accuracy.
        floor_is: where it comes from, for messages.

    Raises NoFit, in an operator's words.
    """
    possible = possible_for(presence, artifacts, model=model)
    if possible and all(each.score < floor for each in possible):  # as sure before anything is measured as afterwards
        raise NoFit(_best_under(max(possible, key=lambda each: (each.score, -each.artifact_bytes)), floor, floor_is))
    candidates = candidates_for(node_id, presence, artifacts, measurements)
    if not candidates:
        raise NoFit(_why_none(node_id, presence, artifacts, measurements), hint="explain lists every candidate")
    budget = presence.budget_for(model)
    chosen = best_fit(candidates, budget)
    if chosen.score < floor:
        raise NoFit(_best_under(chosen, floor, floor_is))
    return chosen


def possible_for(presence: Presence, artifacts: Sequence[Artifact], *, model: str, floor: float = LEAST) -> tuple[Artifact, ...]:
    """The artifacts that the node could get if they cost it nothing: what no measurement can change excludes the others."""
    budget, free = presence.budget_for(model), MeasurementRecord(manifest_digest="", node_id="", hardware_class="")
    return tuple(a for a in artifacts if takes(a, presence) and a.score >= floor and not excesses(as_measured(a, free), budget))


def explain(
    node_id: str,
    presence: Presence,
    artifacts: Sequence[Artifact],
    measurements: MeasurementIndex,
    *,
    model: str,
    floor: float = LEAST,
    offered: Container[str] | None = None,
    release: str = "",
) -> list[Row]:
    """Every candidate with its figures, the limits that exclude it, and whether it was chosen; best accuracy first.

    Args:
        offered: manifest digests that may be chosen, of the release that the node follows; None: all.
        release: its id, for the reasons of the others.
    """
    among = [a for a in artifacts if offered is None or a.manifest_digest in offered]
    try:
        digest = choose(node_id, presence, among, measurements, model=model, floor=floor).manifest_digest
    except NoFit:
        digest = ""
    every = [_row(node_id, presence, artifact, measurements, presence.budget_for(model), floor) for artifact in artifacts]
    chosen = next((row for row, a in zip(every, artifacts, strict=True) if digest and a.manifest_digest == digest), None)
    rows = []
    for row in every:
        if row is chosen:
            row = replace(row, chosen=True)
        elif offered is not None and row.manifest_digest not in offered:
            row = replace(row, in_release=False, why_not=f"is not in {release}, the release that this node follows")
        else:
            row = replace(row, why_not="; ".join(row.out) or (_beaten(row, chosen) if chosen else ""))
        rows.append(row)
    return sorted(rows, key=lambda row: (-row.score, row.artifact_bytes, row.name, row.manifest_digest))


def _row(
    node_id: str,
    presence: Presence,
    artifact: Artifact,
    measurements: MeasurementIndex,
    budget: Budget,
    floor: float,
) -> Row:
    measured = measurement_for(node_id, presence, artifact.manifest_digest, measurements)
    worked = measured if measured is not None and not measured.failure else None
    out = []
    if artifact.runtime not in presence.runtimes:
        out.append(f"runtime: {artifact.runtime} is not on this node")
    elif above := beyond(artifact, presence):
        out += above
    elif measured is None:
        out.append("measurement: there is none of this node or its like")
    elif measured.failure:
        out.append(f"measurement: {measured.failure}: {measured.detail}")
    if worked is not None:
        out += [str(excess) for excess in excesses(as_measured(artifact, worked), budget)]
    if artifact.score < floor:
        out.append(_under(artifact, floor))
    label, worst = artifact.worst_class or ("", None)
    return Row(
        manifest_digest=artifact.manifest_digest,
        name=artifact.name,
        runtime=artifact.runtime,
        accuracy=artifact.accuracy,
        worst_class=worst,
        worst_label=label,
        class_accuracy=artifact.class_accuracy,
        artifact_bytes=artifact.artifact_bytes,
        p50_ms=worked.p50_ms if worked else None,
        latency_ms=worked.p95_ms if worked else None,
        p99_ms=worked.p99_ms if worked else None,
        start_ms=worked.start_ms if worked else None,
        peak_rss_bytes=worked.peak_rss_bytes if worked else None,
        energy_mj=worked.energy_mj if worked else None,
        energy_source=worked.energy_source if worked else "",
        samples=worked.samples if worked else 0,
        measured_on=measured.node_id if measured else "",
        measured_by="" if measured is None else "this node" if measured.node_id == node_id else "its class",
        out=tuple(out),
        why_not="",
        notes=_notes(worked, budget),
        chosen=False,
        metric=artifact.metric,
    )


def _notes(measured: MeasurementRecord | None, budget: Budget) -> tuple[str, ...]:
    """Notes an energy limit that could not be checked: only counted energy is compared with it."""
    if budget.energy_mj is None or measured is None or _counted(measured) is not None:
        return ()
    known = "is not known" if measured.energy_mj is None else f"is only estimated, {measured.energy_mj:.4g} mJ"
    return (f"energy_mj: {known} there, so the limit of {budget.energy_mj:g} excludes no candidate",)


def _counted(measured: MeasurementRecord) -> float | None:
    """Energy of one inference where something counted it; millijoules."""
    return None if measured.energy_source in ("", ESTIMATE) else measured.energy_mj


def _beaten(row: Row, chosen: Row) -> str:
    """Why `chosen` won although `row` fits too: the criteria of best_fit, in order."""
    if row.score < chosen.score:
        theirs, best = (f"{r.metric.name} {r.metric.value:.6g}" if r.metric else f"{r.accuracy:.6g}" for r in (row, chosen))
        return f"fits, but {chosen.name} is more accurate: {best} against {theirs}"
    sizes = f"{row.artifact_bytes} bytes against {chosen.artifact_bytes}"
    slow, fast = row.latency_ms or 0.0, chosen.latency_ms or 0.0
    if latency_bucket(slow) > latency_bucket(fast):
        speeds = f"{slow:.4g} ms against {fast:.4g}"
        if about_as_small(row.artifact_bytes, chosen.artifact_bytes):
            return f"fits and is as accurate and about as small as {chosen.name}, but slower: {speeds}"
        return f"fits and is as accurate as {chosen.name}, but larger and slower: {sizes}, {speeds}"
    if row.artifact_bytes > chosen.artifact_bytes:
        return f"fits and is as accurate as {chosen.name}, but larger: {sizes}"
    return f"fits, and is as accurate and as large as {chosen.name}, which comes first by name"


def _best_under(best: Artifact | Measured, floor: float, floor_is: str) -> str:
    if best.score == -math.inf:
        what = floor_is or f"what is asked, {floor:.4f}"
        return f"the best that fits, {best.name}, cannot be compared with {what}: {UNJUDGED}; {COMPARABLE}"
    return f"the best that fits, {best.name}, {_under(best, floor)}{floor_is and f', {floor_is}'}"


def _under(candidate: Artifact | Measured, floor: float) -> str:
    """The measured value against the required one, in words."""
    metric = candidate.metric
    if candidate.score == -math.inf:
        return f"accuracy: {UNJUDGED}"
    if metric is None:
        return f"accuracy: {candidate.accuracy:.4f} is under {floor:.4f}"
    bound = "under" if metric.higher_is_better else "over"
    return f"{metric.name}: {metric.value:.6g} is {bound} {floor if metric.higher_is_better else -floor:.6g}"


def as_measured(artifact: Artifact, measured: MeasurementRecord) -> Measured:
    """Joins an artifact's signed figures (accuracy, worst class) with a node's measurement."""
    label, worst = artifact.worst_class or ("", None)
    return Measured(
        manifest_digest=artifact.manifest_digest,
        name=artifact.name,
        runtime=artifact.runtime,
        accuracy=artifact.accuracy,
        artifact_bytes=artifact.artifact_bytes,
        latency_ms=measured.p95_ms,
        peak_rss_bytes=measured.peak_rss_bytes,
        samples=measured.samples,
        energy_mj=_counted(measured),
        worst_class=worst,
        worst_label=label,
        metric=artifact.metric,
    )


def _why_none(node_id: str, presence: Presence, artifacts: Sequence[Artifact], measurements: MeasurementIndex) -> str:
    runnable = [a for a in artifacts if a.runtime in presence.runtimes]
    if not runnable:
        wanted = "/".join(sorted({a.runtime for a in artifacts})) or "nothing"
        return f"the release needs {wanted}, this node has {'/'.join(presence.runtimes) or 'no runtime'}"
    taken = [a for a in runnable if not beyond(a, presence)]
    if not taken:
        return "; ".join(f"{a.name}: {limit}" for a in runnable for limit in beyond(a, presence))
    for artifact in taken:
        measured = measurement_for(node_id, presence, artifact.manifest_digest, measurements)
        if measured is not None and measured.failure:
            return f"{artifact.name} could not be run here: {measured.failure}: {measured.detail}"
    return f"none of {len(taken)} candidates was measured on this node or its like"
