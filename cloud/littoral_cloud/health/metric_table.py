"""The coordinator's metrics; docs/reference/metrics.md lists them, docs/dashboards/ shows them.

Names are OpenTelemetry's where it has one: https://opentelemetry.io/docs/specs/semconv/rpc/rpc-metrics/,
https://opentelemetry.io/docs/specs/semconv/http/http-metrics/,
https://opentelemetry.io/docs/specs/semconv/system/process-metrics/. No label has a node in it, nor any text that a node sends:
the number of series does not grow with the fleet.
"""

from __future__ import annotations

from littoral.exposition import MetricSpec

OTHER_MODEL = "other"
"""Of the label `model`: one that no release names. Nodes report names of their own."""

OF_THE_PROCESS = (
    MetricSpec("littoral_coordinator_info", "littoral.coordinator", "Info", (), "The release, and the id of this process."),
    MetricSpec(
        "littoral_coordinator_ready",
        "littoral.coordinator.ready",
        "Gauge",
        ("part",),
        "1 where the part is ready (/readyz).",
    ),
    MetricSpec("process_memory_usage_bytes", "process.memory.usage", "Gauge", (), "Resident memory of the coordinator."),
    MetricSpec("process_cpu_time_seconds_total", "process.cpu.time", "Counter", (), "Processor time of the coordinator."),
    MetricSpec(
        "littoral_event_loop_delay_seconds",
        "littoral.event_loop.delay",
        "Histogram",
        (),
        "How much later than asked a timer ran, four times a second: what all sessions wait for.",
    ),
    MetricSpec("littoral_session_open", "littoral.session.open", "Gauge", (), "Sessions of nodes that are open here."),
    MetricSpec("littoral_session_opened_total", "littoral.session.opened", "Counter", (), "Sessions that were opened."),
    MetricSpec(
        "littoral_session_ended_total",
        "littoral.session.ended",
        "Counter",
        ("reason",),
        "Open sessions that ended. LEFT: the node went, or its connection broke.",
    ),
    MetricSpec(
        "littoral_session_refused_total", "littoral.session.refused", "Counter", ("reason",), "Sessions that were not opened."
    ),
    MetricSpec("littoral_session_messages_total", "littoral.session.messages", "Counter", ("kind",), "Messages from nodes."),
    MetricSpec(
        "littoral_telemetry_reports_total",
        "littoral.telemetry.reports",
        "Counter",
        ("outcome",),
        "Telemetry reports: counted, repeated (counted before), or over the limit of models.",
    ),
    MetricSpec("littoral_drift_detected_total", "littoral.drift.detected", "Counter", (), "Drifts that began, on one node each."),
    MetricSpec("littoral_drift_ended_total", "littoral.drift.ended", "Counter", (), "Drifts that ended, on one node each."),
    MetricSpec(
        "littoral_commit_duration_seconds",
        "littoral.commit.duration",
        "Histogram",
        ("outcome",),
        "From a change to its answer. Outcome: ok, or the code of the error; conflict is usual, and is tried again.",
    ),
    MetricSpec(
        "littoral_commit_wait_seconds", "littoral.commit.wait", "Gauge", (), "How long the oldest commit without an answer waits."
    ),
    MetricSpec("littoral_documents_read_total", "littoral.documents.read", "Counter", (), "Documents that were read from Redis."),
    MetricSpec(
        "littoral_view_lag_seconds",
        "littoral.view.lag",
        "Gauge",
        (),
        "Age of the oldest change that deciders do not know yet.",
    ),
    MetricSpec("littoral_view_documents", "littoral.view.documents", "Gauge", ("kind",), "Documents in the view's memory."),
    MetricSpec("littoral_blob_sent_bytes_total", "littoral.blob.sent", "Counter", (), "Bytes of blobs that nodes got."),
    MetricSpec("littoral_blob_received_bytes_total", "littoral.blob.received", "Counter", (), "Bytes of blobs that nodes put."),
    MetricSpec("littoral_disk_free_bytes", "littoral.disk.free", "Gauge", ("folder",), "Free bytes where the folder lies."),
    MetricSpec(
        "littoral_certificate_left_seconds",
        "littoral.certificate.left",
        "Gauge",
        ("certificate",),
        "Until the certificate ends: the listeners', which is renewed by itself, and the CA's.",
    ),
    MetricSpec(
        "rpc_server_call_duration_seconds",
        "rpc.server.call.duration",
        "Histogram",
        ("rpc_method", "rpc_response_status_code"),
        "Calls over gRPC, by status. A session is one call.",
    ),
    MetricSpec(
        "http_server_request_duration_seconds",
        "http.server.request.duration",
        "Histogram",
        ("http_request_method", "http_route", "http_response_status_code"),
        "Requests of operators, by status. Following events is one request.",
    ),
)
"""Of this coordinator alone: add them up over coordinators."""

OF_THE_FLEET = (
    MetricSpec(
        "littoral_node_count",
        "littoral.node.count",
        "Gauge",
        ("state",),
        "Nodes by state: online, away, offline, cloned, or what keeps them out of the fleet.",
    ),
    MetricSpec("littoral_node_quarantined", "littoral.node.quarantined", "Gauge", (), "Nodes in quarantine."),
    MetricSpec(
        "littoral_node_update_count",
        "littoral.node.update.count",
        "Gauge",
        ("model", "state"),
        f"Nodes by the state of their last update of a model; {OTHER_MODEL}: of models that no release names.",
    ),
    MetricSpec(
        "littoral_node_drifted",
        "littoral.node.drifted",
        "Gauge",
        ("model",),
        "Nodes whose inputs of the model are not what they were, where that was not acknowledged.",
    ),
    MetricSpec("littoral_rollout_count", "littoral.rollout.count", "Gauge", ("state",), "Rollouts by state."),
    MetricSpec("littoral_rollout_paused", "littoral.rollout.paused", "Gauge", (), "Rollouts that an operator has paused."),
    MetricSpec(
        "littoral_rollout_wave",
        "littoral.rollout.wave",
        "Gauge",
        ("model",),
        "The wave that a rollout is in; 0: none.",
    ),
    MetricSpec(
        "littoral_rollout_nodes",
        "littoral.rollout.nodes",
        "Gauge",
        ("model", "state"),
        "Nodes of the rollout that goes on, by the state of their assignment.",
    ),
    MetricSpec("littoral_run_count", "littoral.run.count", "Gauge", ("state",), "Federated runs by state."),
    MetricSpec(
        "littoral_webhook_delivered_total",
        "littoral.webhook.delivered",
        "Counter",
        ("webhook",),
        "Events that the receiver took, since the webhook was made.",
    ),
    MetricSpec(
        "littoral_webhook_given_up_total",
        "littoral.webhook.given_up",
        "Counter",
        ("webhook",),
        "Events that it did not take within a day.",
    ),
    MetricSpec(
        "littoral_webhook_failing_seconds",
        "littoral.webhook.failing",
        "Gauge",
        ("webhook",),
        "Since when each attempt has failed; 0: the last one succeeded.",
    ),
    MetricSpec(
        "littoral_run_rounds_finished",
        "littoral.run.rounds_finished",
        "Gauge",
        ("model",),
        "Rounds that a run has finished.",
    ),
)
"""Of the whole fleet: each coordinator says the same, so take the largest over coordinators."""

METRICS = (*OF_THE_PROCESS, *OF_THE_FLEET)
