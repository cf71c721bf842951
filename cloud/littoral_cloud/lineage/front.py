"""Accuracy against bytes and latency: which artifacts of a model are worth choosing. Pure.

Rules, in order:

1. An artifact beats another one if it is at least as good in score, bytes and latency, and better in one of them.
2. Where one of the two was not measured on the hardware class, score and bytes alone count.
3. The front is what nothing beats.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from littoral_cloud.fleet.measurements import MeasurementIndex, MeasurementRecord
from littoral_cloud.fleet.records import Artifact, Release


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontPoint:
    """One artifact. None: not measured.

    Attributes:
        score: higher is better; of an accuracy its value, a fraction. `metric`: what `value` is. None: never measured.
        p95_ms, peak_rss_bytes: the latest measurement on the hardware class.
        nodes: that answer with it. `releases`: that have it.
        front: it was measured, and no other artifact beats it.
    """

    digest: str
    name: str
    runtime: str
    created_at: float
    metric: str
    value: float | None
    score: float | None
    bytes: int
    p95_ms: float | None
    peak_rss_bytes: int | None
    nodes: int
    releases: tuple[str, ...]
    front: bool


def classes_of(measured: Iterable[MeasurementRecord]) -> tuple[str, ...]:
    """Hardware classes with a success, those with most first."""
    counts = Counter(each.hardware_class for each in measured if each.hardware_class and not each.failure)
    return tuple(sorted(counts, key=lambda name: (-counts[name], name)))


def points_of(
    artifacts: Sequence[Artifact],
    releases: Sequence[Release],
    measured: MeasurementIndex,
    hardware_class: str,
    serving: Mapping[str, int],
) -> tuple[FrontPoint, ...]:
    """The best score first.

    Args:
        serving: by manifest digest, how many nodes answer with it.
    """
    found = {each.manifest_digest: measured.of_class(each.manifest_digest, hardware_class) for each in artifacts}
    figures = {digest: (record.p95_ms if record else None) for digest, record in found.items()}

    def beaten(mine: Artifact) -> bool:
        return any(
            _beats(other, figures[other.manifest_digest], mine, figures[mine.manifest_digest])
            for other in artifacts
            if other is not mine
        )

    points = []
    for each in artifacts:
        record = found[each.manifest_digest]
        points.append(
            FrontPoint(
                digest=each.manifest_digest,
                name=each.name,
                runtime=each.runtime,
                created_at=each.created_at,
                metric=each.metric.name if each.metric else "accuracy",
                value=each.metric.value if each.metric else each.accuracy if each.is_judged else None,
                score=each.score if each.is_judged else None,
                bytes=each.artifact_bytes,
                p95_ms=record.p95_ms if record else None,
                peak_rss_bytes=record.peak_rss_bytes if record else None,
                nodes=serving.get(each.manifest_digest, 0),
                releases=tuple(release.release_id for release in releases if each.manifest_digest in release.artifacts),
                front=each.is_judged and not beaten(each),
            )
        )
    worst = -math.inf
    return tuple(sorted(points, key=lambda p: (-(worst if p.score is None else p.score), p.bytes, p.digest)))


def _beats(a: Artifact, a_ms: float | None, b: Artifact, b_ms: float | None) -> bool:
    if (a.metric.name if a.metric else "") != (b.metric.name if b.metric else ""):
        return False
    pairs = [(-a.score, -b.score), (float(a.artifact_bytes), float(b.artifact_bytes))]
    if a_ms is not None and b_ms is not None:
        pairs.append((a_ms, b_ms))
    return all(mine <= its for mine, its in pairs) and any(mine < its for mine, its in pairs)
