"""From a telemetry report to its message of the session."""

from __future__ import annotations

from littoral.fleet.v1 import session_pb2
from littoral_node.telemetry.counting import TelemetryReport


def report_to(report: TelemetryReport, boot_id: str, sequence: int) -> session_pb2.TelemetryReport:
    message = session_pb2.TelemetryReport(
        boot_id=boot_id,
        sequence=sequence,
        window_start_unix_ms=round(report.window_start * 1_000),
        window_end_unix_ms=round(report.window_end * 1_000),
        model_name=report.model,
        manifest_digest=report.manifest_digest,
        requests=report.requests,
        failed_requests=report.failed_requests,
        latency_counts=report.latency_counts,
        class_counts=report.class_counts,
        rss_bytes=report.rss_bytes,
        cpu_seconds=report.cpu_seconds,
        offload_asked=report.offload_asked,
        offload_answered=report.offload_answered,
    )
    if report.inputs is not None:
        features, bins = report.inputs.counts.shape
        message.inputs.CopyFrom(
            session_pb2.InputSketch(
                sketch_id=report.inputs.sketch_id,
                features=features,
                bins=bins,
                counts=report.inputs.counts.reshape(-1).tolist(),
                examples=report.inputs.examples,
            )
        )
    return message
