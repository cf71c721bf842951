"""What nodes measured of candidates: kind "measurement", one record for a manifest on a node."""

from __future__ import annotations

from dataclasses import dataclass

from littoral.measuring import MeasurementResult


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasurementRecord(MeasurementResult):
    manifest_digest: str
    node_id: str
    hardware_class: str
    measured_at: float = 0.0
    schema: int = 1


def measurement_id(manifest_digest: str, node_id: str) -> str:
    return f"{manifest_digest}@{node_id}"


def node_of(measurement_id: str) -> str:
    return measurement_id.rpartition("@")[2]
