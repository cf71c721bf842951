"""What measuring a candidate on a machine found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MeasurementResult:
    """The fields of littoral.fleet.v1.Measurement; `failure` is empty where it ran."""

    failure: str = ""
    detail: str = ""
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    p99_ms: float = 0.0
    peak_rss_bytes: int = 0
    start_ms: float = 0.0
    samples: int = 0
    load_average: float = 0.0
    runtime_version: str = ""
    energy_mj: float | None = None  # one inference; None: nothing is known
    energy_source: str = ""  # littoral.budget.ESTIMATE: by a stated power; else what counted it
