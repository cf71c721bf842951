"""docs/dashboards/coordinator.json: a dashboard for Grafana over the coordinator's metrics, row by row."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WIDTH = 24
"""Of a row, in Grafana's columns."""
HEIGHT = 8
BY = 'instance=~"$instance"'


@dataclass(frozen=True, slots=True)
class Panel:
    """`queries`: PromQL by legend; a legend may name labels as {{label}}. `kind`: of Grafana's panels."""

    title: str
    queries: Mapping[str, str]
    unit: str = "short"
    kind: str = "timeseries"
    stacked: bool = False
    about: str = ""


def rate(metric: str, by: str = "") -> str:
    """A second, over the coordinators that were chosen."""
    return f"sum by ({by}) (rate({metric}{{{BY}}}[$__rate_interval]))" if by else f"sum(rate({metric}{{{BY}}}[$__rate_interval]))"


def quantile(q: float, metric: str, by: str = "") -> str:
    return f"histogram_quantile({q:g}, sum by (le{', ' + by if by else ''}) (rate({metric}_bucket{{{BY}}}[$__rate_interval])))"


def fleet(metric: str, by: str = "") -> str:
    """Each coordinator says the same of the fleet."""
    return f"max by ({by}) ({metric})" if by else f"max({metric})"


ROWS: Mapping[str, Sequence[Panel]] = {
    "Is it well": (
        Panel(
            "Ready",
            {"{{part}}": f"min by (part) (littoral_coordinator_ready{{{BY}}})"},
            kind="stat",
            about="1: ready. 0: /readyz says why.",
        ),
        Panel("Nodes", {"{{state}}": fleet("littoral_node_count", "state")}, kind="stat"),
        Panel("Rollouts", {"{{state}}": fleet("littoral_rollout_count", "state")}, kind="stat"),
        Panel("In quarantine", {"nodes": fleet("littoral_node_quarantined")}, kind="stat"),
    ),
    "Fleet": (
        Panel("Nodes by state", {"{{state}}": fleet("littoral_node_count", "state")}, stacked=True),
        Panel("Updates by state", {"{{model}} {{state}}": fleet("littoral_node_update_count", "model, state")}, stacked=True),
        Panel("Open sessions", {"{{instance}}": f"littoral_session_open{{{BY}}}"}, stacked=True),
        Panel(
            "Sessions opened, ended, refused, a second",
            {
                "opened": rate("littoral_session_opened_total"),
                "ended {{reason}}": rate("littoral_session_ended_total", "reason"),
                "refused {{reason}}": rate("littoral_session_refused_total", "reason"),
            },
            unit="ops",
        ),
    ),
    "Rollouts and runs": (
        Panel("Nodes of the rollout", {"{{model}} {{state}}": fleet("littoral_rollout_nodes", "model, state")}, stacked=True),
        Panel(
            "Wave", {"{{model}}": fleet("littoral_rollout_wave", "model"), "paused rollouts": fleet("littoral_rollout_paused")}
        ),
        Panel(
            "Drifted nodes",
            {
                "{{model}}: now": fleet("littoral_node_drifted", "model"),
                "began in an hour": f"sum(increase(littoral_drift_detected_total{{{BY}}}[1h]))",
                "ended in an hour": f"sum(increase(littoral_drift_ended_total{{{BY}}}[1h]))",
            },
        ),
        Panel(
            "Federated runs",
            {
                "{{state}}": fleet("littoral_run_count", "state"),
                "{{model}}: rounds finished": fleet("littoral_run_rounds_finished", "model"),
            },
        ),
    ),
    "Work": (
        Panel("Messages a second", {"{{kind}}": rate("littoral_session_messages_total", "kind")}, unit="ops", stacked=True),
        Panel("Telemetry a second", {"{{outcome}}": rate("littoral_telemetry_reports_total", "outcome")}, unit="ops"),
        Panel(
            "Blobs",
            {"to nodes": rate("littoral_blob_sent_bytes_total"), "from nodes": rate("littoral_blob_received_bytes_total")},
            unit="Bps",
        ),
        Panel(
            "Webhooks",
            {
                "{{webhook}}: delivered in an hour": "max by (webhook) (increase(littoral_webhook_delivered_total[1h]))",
                "{{webhook}}: given up in an hour": "max by (webhook) (increase(littoral_webhook_given_up_total[1h]))",
            },
        ),
        Panel(
            "Requests and calls that failed, a second",
            {
                "{{http_response_status_code}} {{http_route}}": (
                    "sum by (http_route, http_response_status_code) (rate(http_server_request_duration_seconds_count"
                    f'{{{BY}, http_response_status_code!~"[23].."}}[$__rate_interval]))'
                ),
                "{{rpc_response_status_code}} {{rpc_method}}": (
                    "sum by (rpc_method, rpc_response_status_code) (rate(rpc_server_call_duration_seconds_count"
                    f'{{{BY}, rpc_response_status_code!="OK"}}[$__rate_interval]))'
                ),
            },
            unit="ops",
        ),
    ),
    "Store": (
        Panel(
            "Time of a commit",
            {
                "half": quantile(0.5, "littoral_commit_duration_seconds"),
                "99 %": quantile(0.99, "littoral_commit_duration_seconds"),
            },
            unit="s",
        ),
        Panel("Commits a second", {"{{outcome}}": rate("littoral_commit_duration_seconds_count", "outcome")}, unit="ops"),
        Panel(
            "Behind",
            {
                "{{instance}}: view": f"littoral_view_lag_seconds{{{BY}}}",
                "{{instance}}: oldest commit": f"littoral_commit_wait_seconds{{{BY}}}",
            },
            unit="s",
        ),
        Panel(
            "Documents",
            {
                "read a second": rate("littoral_documents_read_total"),
                "in memory: {{kind}}": f"max by (kind) (littoral_view_documents{{{BY}}})",
            },
        ),
    ),
    "Process": (
        Panel(
            "Processor", {"{{instance}}": f"rate(process_cpu_time_seconds_total{{{BY}}}[$__rate_interval])"}, unit="percentunit"
        ),
        Panel("Memory", {"{{instance}}": f"process_memory_usage_bytes{{{BY}}}"}, unit="bytes"),
        Panel(
            "Event loop, 99 % within", {"{{instance}}": quantile(0.99, "littoral_event_loop_delay_seconds", "instance")}, unit="s"
        ),
        Panel(
            "Room and time left",
            {
                "free: {{folder}}": f"min by (folder) (littoral_disk_free_bytes{{{BY}}})",
                "days of the certificate: {{certificate}}": (
                    f"min by (certificate) (littoral_certificate_left_seconds{{{BY}}}) / 86400"
                ),
            },
            kind="stat",
            unit="short",
        ),
    ),
}


def page(_: str = "") -> str:
    body = {
        "title": "Littoral: coordinator",
        "uid": "littoral-coordinator",
        "description": "Written by docs/write_reference.py. Import it, and choose your Prometheus.",
        "tags": ["littoral"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": [_data_source(), _instances()]},
        "panels": list(_panels()),
    }
    return json.dumps(body, indent=1) + "\n"


def _data_source() -> Mapping[str, Any]:
    return {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}


def _instances() -> Mapping[str, Any]:
    query = "label_values(littoral_coordinator_info, instance)"
    return {
        "name": "instance",
        "label": "Coordinator",
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": "instances"},
        "definition": query,
        "includeAll": True,
        "allValue": ".*",
        "multi": True,
        "current": {"text": "All", "value": "$__all"},
        "refresh": 2,
    }


_SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def _panels() -> Iterator[Mapping[str, Any]]:
    id, y = 1, 0
    for title, panels in ROWS.items():
        yield {"id": id, "type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": _place(0, y, WIDTH, 1)}
        id, y = id + 1, y + 1
        width = WIDTH // len(panels)
        for column, panel in enumerate(panels):
            yield _panel(panel, id, _place(column * width, y, width, HEIGHT))
            id += 1
        y += HEIGHT


def _place(x: int, y: int, width: int, height: int) -> Mapping[str, int]:
    return {"x": x, "y": y, "w": width, "h": height}


def _panel(panel: Panel, id: int, place: Mapping[str, int]) -> Mapping[str, Any]:
    targets = [
        {"refId": chr(ord("A") + number), "expr": query, "legendFormat": legend, "datasource": _SOURCE}
        for number, (legend, query) in enumerate(panel.queries.items())
    ]
    custom = {"stacking": {"mode": "normal"}, "fillOpacity": 30} if panel.stacked else {"fillOpacity": 5}
    return {
        "id": id,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": _SOURCE,
        "gridPos": place,
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "custom": custom if panel.kind == "timeseries" else {}},
            "overrides": [],
        },
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}} if panel.kind == "timeseries" else {},
        "targets": targets,
    }
