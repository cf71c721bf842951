"""What the nodes say they did, added up: kind "telemetry", id NODE:MODEL.

A report counts one window of one model on one node. Reports are repeated when an acknowledgement was lost and come late when
the cloud was away, so its boot and its sequence number identify it, and it is counted once. The totals
outlive restarts of the node and of the coordinator. cloud/littoral_cloud/fleet/telemetry_desk.py writes them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from operator import add
from typing import TYPE_CHECKING

from littoral.digest import check_digest
from littoral.errors import BadInput
from littoral.telemetry import LATENCY_BOUNDS_MS, quantile

if TYPE_CHECKING:
    from littoral.sketch import Counted

KIND = "telemetry"
MAX_CLASSES = 10_000
MAX_SKETCH_CELLS = 16_384
MAX_JUMP = 2**32
"""By so much the number of a boot's next report may be larger than the last: no node makes as many windows meanwhile."""
MAX_COUNT = 2**32
"""In one window: totals fit into 64 bits for as long as nodes live."""
REMEMBERED_BOOTS = 8
"""Boots of a node whose late reports are still told from repeated ones."""

_BOOT = re.compile(r"[0-9a-f]{32}")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WindowReport:
    """One TelemetryReport, checked. Times are seconds since 1970-01-01 UTC by the node's clock."""

    boot_id: str
    sequence: int
    window_start: float
    window_end: float
    model: str
    manifest_digest: str
    requests: int
    failed_requests: int
    latency_counts: tuple[int, ...]  # len(LATENCY_BOUNDS_MS) + 1, or empty
    class_counts: tuple[int, ...]
    inputs: Counted | None  # None: no input was counted in this window
    rss_bytes: int
    cpu_seconds: float
    offload_asked: int = 0  # requests that were sent on to the teacher here
    offload_answered: int = 0  # and of those, the ones that it answered

    def __post_init__(self) -> None:
        """Raises BadInput, naming the field."""
        check_boot_id(self.boot_id, "telemetry.boot_id")
        if self.sequence < 1:
            raise BadInput(f"telemetry.sequence: {self.sequence}, counts from 1")
        check_model_name(self.model, "telemetry.model_name")
        if self.manifest_digest:
            check_digest(self.manifest_digest, "telemetry.manifest_digest")
        for name in ("requests", "failed_requests", "offload_asked", "offload_answered"):
            if (count := getattr(self, name)) > MAX_COUNT:
                raise BadInput(f"telemetry.{name}: {count} in one window is over {MAX_COUNT}")
        if self.failed_requests > self.requests:
            raise BadInput(f"telemetry.failed_requests: {self.failed_requests} of {self.requests} requests")
        if self.offload_answered > self.offload_asked:
            raise BadInput(f"telemetry.offload_answered: {self.offload_answered} of {self.offload_asked} requests")
        if self.latency_counts and len(self.latency_counts) != len(LATENCY_BOUNDS_MS) + 1:
            raise BadInput(f"telemetry.latency_counts: {len(self.latency_counts)} counts, wanted {len(LATENCY_BOUNDS_MS) + 1}")
        if len(self.class_counts) > MAX_CLASSES:
            raise BadInput(f"telemetry.class_counts: {len(self.class_counts)} classes, at most {MAX_CLASSES}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingCounts:
    """Of one span of time."""

    requests: int = 0
    failed_requests: int = 0
    latency_counts: tuple[int, ...] = ()
    class_counts: tuple[int, ...] = ()
    offload_asked: int = 0
    offload_answered: int = 0

    def plus(self, report: WindowReport) -> ServingCounts:
        return ServingCounts(
            requests=self.requests + report.requests,
            failed_requests=self.failed_requests + report.failed_requests,
            latency_counts=_added(self.latency_counts, report.latency_counts),
            class_counts=_added(self.class_counts, report.class_counts),
            offload_asked=self.offload_asked + report.offload_asked,
            offload_answered=self.offload_answered + report.offload_answered,
        )

    def latency_ms(self, q: float) -> float:
        """Estimated from the histogram; NaN where nothing was counted."""
        return quantile(self.latency_counts, q) if any(self.latency_counts) else float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    start: float
    end: float
    counts: ServingCounts


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetryTotals:
    """Totals of one model on one node."""

    boots: Mapping[str, int]  # highest sequence counted of each boot, oldest boot first
    totals: ServingCounts  # since the node first served the model
    manifest_digest: str  # of the last report
    serving: ServingCounts  # since that manifest is served
    last_window: Window
    last_report_at: float  # by the coordinator's clock
    rss_bytes: int
    peak_rss_bytes: int  # the largest ever reported
    cpu_seconds: float
    schema: int = field(default=1)


def check_boot_id(boot_id: str, where: str) -> str:
    """Gives it back. Raises BadInput, naming the field."""
    if not _BOOT.fullmatch(boot_id):
        raise BadInput(f"{where}: {boot_id[:80]!r} is not 32 hex digits")
    return boot_id


def check_model_name(name: str, where: str) -> str:
    """Gives the name back. Raises BadInput, naming the field."""
    if not _MODEL.fullmatch(name):
        raise BadInput(f"{where}: {name[:80]!r} may hold letters, digits, '.', '_' and '-' only, at most 63")
    return name


def telemetry_id(node_id: str, model: str) -> str:
    return f"{node_id}:{model}"


def fold(before: TelemetryTotals | None, report: WindowReport, now: float) -> TelemetryTotals | None:
    """The totals with a report in them; None where it has been counted already. Raises BadInput where its number jumps."""
    boots = dict(before.boots) if before else {}
    last = boots.get(report.boot_id, 0)
    if report.sequence <= last:
        return None
    if report.sequence > last + MAX_JUMP:
        raise BadInput(f"telemetry.sequence: {report.sequence} after {last}: grows by one with each report")
    boots[report.boot_id] = report.sequence
    for oldest in list(boots)[:-REMEMBERED_BOOTS]:
        del boots[oldest]
    window = Window(start=report.window_start, end=report.window_end, counts=ServingCounts().plus(report))
    if before is None:
        return TelemetryTotals(
            boots=boots,
            totals=window.counts,
            manifest_digest=report.manifest_digest,
            serving=window.counts,
            last_window=window,
            last_report_at=now,
            rss_bytes=report.rss_bytes,
            peak_rss_bytes=report.rss_bytes,
            cpu_seconds=report.cpu_seconds,
        )
    same = report.manifest_digest == before.manifest_digest
    return replace(
        before,
        boots=boots,
        totals=before.totals.plus(report),
        manifest_digest=report.manifest_digest,
        serving=before.serving.plus(report) if same else window.counts,
        last_window=window,
        last_report_at=now,
        rss_bytes=report.rss_bytes,
        peak_rss_bytes=max(before.peak_rss_bytes, report.rss_bytes),
        cpu_seconds=report.cpu_seconds,
    )


def _added(left: Sequence[int], right: Sequence[int]) -> tuple[int, ...]:
    if len(left) == len(right):
        return tuple(map(add, left, right))
    return tuple(a + b for a, b in zip_longest(left, right, fillvalue=0))
