"""What to watch: docs/dashboards/alerts.yml for Prometheus, and the table in docs/operations.md, both from ALERTS."""

from __future__ import annotations

import json
from dataclasses import dataclass

from pages.markdown import code, table

BEGIN, END = "<!-- alerts: written by docs/write_reference.py -->", "<!-- end of alerts -->"


@dataclass(frozen=True, slots=True)
class Alert:
    """`expr`: PromQL. `lasts`: for how long before somebody is called. `page`: at night too."""

    name: str
    expr: str
    lasts: str
    meaning: str
    do: str
    page: bool = False


ALERTS = (
    Alert(
        "CoordinatorGone",
        'up{job="littoral"} == 0 or absent(littoral_coordinator_info)',
        "2m",
        "Prometheus does not reach a coordinator, or its token ended. Nodes go to another coordinator, or serve what they have.",
        "Is the process there (`systemctl status`), and does it answer `/healthz`? Its log says why it ended. Start it again: it "
        "goes on where it stood.",
        page=True,
    ),
    Alert(
        "CoordinatorNotReady",
        "min by (instance, part) (littoral_coordinator_ready) == 0",
        "2m",
        "A part is not ready: `redis`, `view`, `disk` or `certificate`.",
        "`curl -s .../readyz` says why; the rows below say what to do. With `draining` it was asked to end.",
        page=True,
    ),
    Alert(
        "CommitsSlow",
        "histogram_quantile(0.99, sum by (le) (rate(littoral_commit_duration_seconds_bucket[5m]))) > 1",
        "10m",
        "One change in a hundred takes more than a second: Redis, its disk or the network to it is slow.",
        "Look at Redis (`redis-cli --latency`, `slowlog get`), its disk, and whether a replica is away "
        "(`LITTORAL_REDIS_REPLICAS` waits for it).",
    ),
    Alert(
        "CommitsFail",
        'sum by (outcome) (rate(littoral_commit_duration_seconds_count{outcome!~"ok|conflict|lost-lease"}[5m])) > 0',
        "5m",
        "Changes are not written. `unavailable`: Redis is away. `no-space`: its disk or memory is full.",
        "Start Redis again, or make room; nothing that was answered is lost. Nodes keep their reports meanwhile.",
        page=True,
    ),
    Alert(
        "ViewBehind",
        "max by (instance) (littoral_view_lag_seconds) > 15",
        "5m",
        "The coordinator decides on what was true a while ago. It judges no silence of nodes meanwhile.",
        "Is one core full (`process_cpu_time`)? Then start a second coordinator ([scale.md](scale.md)). Else look at Redis.",
    ),
    Alert(
        "EventLoopLate",
        "histogram_quantile(0.99, sum by (le, instance) (rate(littoral_event_loop_delay_seconds_bucket[5m]))) > 1",
        "10m",
        "All sessions wait for one piece of work, or the machine is too small. Heartbeats that are late end sessions.",
        "More processor time, or a second coordinator. If the load is small, report it with the log.",
    ),
    Alert(
        "NodesGone",
        'max(littoral_node_count{state="offline"}) > '
        '0.1 * sum(max by (state) (littoral_node_count{state=~"online|away|offline"}))',
        "15m",
        "More than a tenth of the fleet is offline.",
        "`littoral-cloud node list --state offline`: one site, one network, one release? A node that was off comes back by "
        "itself.",
    ),
    Alert(
        "NodeCloned",
        'max(littoral_node_count{state="cloned"}) > 0',
        "5m",
        "Two machines use one identity: somebody copied a disk.",
        "`littoral-cloud node show NODE` has both addresses. Stop one, empty its folder, and enrol it anew "
        "([identity.md](identity.md)).",
    ),
    Alert(
        "NodesInQuarantine",
        "max(littoral_node_quarantined) > 0",
        "1h",
        "Nodes failed three times in a day, and get no updates.",
        "`littoral-cloud node show NODE` has the failures. Mend the machine, then `littoral-cloud node end-quarantine NODE`.",
    ),
    Alert(
        "RolloutRolledBack",
        'max(delta(littoral_rollout_count{state="ROLLED_BACK"}[30m])) > 0',
        "0m",
        "A rollout stopped by itself, and its nodes have what they had before.",
        "`littoral-cloud rollout list`, then `littoral-cloud rollout explain ID`: which node or gate, and why. Release a better "
        "model; the nodes are safe.",
    ),
    Alert(
        "RolloutPaused",
        "max(littoral_rollout_paused) > 0",
        "24h",
        "A rollout has been paused for a day.",
        "`littoral-cloud rollout explain ID` names who paused it; `littoral-cloud rollout resume ID`, or `abort`.",
    ),
    Alert(
        "RunsFail",
        'max(delta(littoral_run_count{state="FAILED"}[1h])) > 0',
        "0m",
        "A federated run ended without a model.",
        "`littoral-cloud run show ID` has the reason. `quorum`: too few nodes answered in time ([runs.md](runs.md)).",
    ),
    Alert(
        "DriftSpreads",
        'sum(increase(littoral_drift_detected_total[1h])) > 0.05 * max(littoral_node_count{state="online"}) + 3',
        "0m",
        "Many nodes see other inputs than before: the world changed, or a sensor series, or a pipeline in front of the model.",
        "`littoral-cloud node list`: which site? If the inputs are right, start a run (`littoral-cloud run start`), or let "
        "`--auto-loop` do it.",
    ),
    Alert(
        "CallsRefused",
        "sum by (rpc_response_status_code) (rate(rpc_server_call_duration_seconds_count{rpc_response_status_code=~"
        '"UNAUTHENTICATED|PERMISSION_DENIED|RESOURCE_EXHAUSTED|INTERNAL"}[10m])) > 0.1',
        "10m",
        "Callers are refused, or the coordinator fails on them. The dashboard has the method.",
        "`INTERNAL`: the log has a traceback; the caller's error names the request id. Else: machines with a spent token, a "
        "certificate that ended, or a stranger.",
    ),
    Alert(
        "SessionsRefused",
        'sum by (reason) (rate(littoral_session_refused_total{reason!~"LEFT|UNAVAILABLE"}[10m])) > 0.1',
        "10m",
        "Nodes come and are sent away. `NODE_UNKNOWN`: the ledger does not know them, as after a restored backup. "
        "`NODE_REVOKED`: they were taken out.",
        "`littoral-cloud audit show --last 50 --action 'node.*'`. After a restore enrol them again; stop agents of machines that "
        "were taken out.",
    ),
    Alert(
        "WebhookFails",
        "max by (webhook) (littoral_webhook_failing_seconds) > 3600",
        "0m",
        "A receiver has refused each attempt for an hour. Events are tried again for a day, then given up.",
        "`littoral-cloud webhook list` has its last answer. Mend the receiver, or `littoral-cloud webhook delete NAME`.",
    ),
    Alert(
        "DiskFull",
        "min by (instance, folder) (littoral_disk_free_bytes) < 1e9",
        "10m",
        "Less than 1 GB is free. Below 128 MiB the coordinator is not ready; on a full disk the embedded Redis takes no writes.",
        "`littoral-cloud artifact gc --dry-run`, then without; [retention.md](retention.md) bounds the rest.",
    ),
    Alert(
        "CertificateEnds",
        'min by (certificate) (littoral_certificate_left_seconds{certificate="listeners"}) < 14 * 86400 or '
        'min by (certificate) (littoral_certificate_left_seconds{certificate="ca"}) < 180 * 86400',
        "1h",
        "The listeners' certificate renews itself at a third of its life: under 14 days it does not. Or the CA ends within half "
        "a year.",
        "Read the log for `the listeners keep their certificate`. For the CA see [keys.md](keys.md).",
    ),
)


def rules(_: str = "") -> str:
    """YAML, whose texts are JSON strings."""
    lines = ["# Written by docs/write_reference.py.", "groups:", "  - name: littoral", "    rules:"]
    for alert in ALERTS:
        lines += [
            f"      - alert: {alert.name}",
            f"        expr: {json.dumps(alert.expr)}",
            f"        for: {alert.lasts}",
            f"        labels: {{severity: {'page' if alert.page else 'ticket'}}}",
            "        annotations:",
            f"          summary: {json.dumps(alert.meaning)}",
            f"          description: {json.dumps(alert.do)}",
        ]
    return "\n".join(lines) + "\n"


def page(text: str) -> str:
    """docs/operations.md with a new table between BEGIN and END."""
    rows = ((code(alert.name) + (", page" if alert.page else ""), alert.meaning, alert.do) for alert in ALERTS)
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{table(('alert', 'what it means', 'what to do'), rows)}\n\n{END}{rest.partition(END)[2]}"
