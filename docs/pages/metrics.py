"""docs/reference/metrics.md: the agent's metrics, from their table."""

from __future__ import annotations

from littoral_node.serving.metrics import METRICS
from pages.markdown import NOTICE, code, table

HEAD = f"""\
# Metrics

{NOTICE}
An agent exposes these at `/metrics` of its HTTP address, for Prometheus. The coordinator exposes none."""


def page() -> str:
    rows = [(code(m.name), m.kind.lower(), ", ".join(m.labels) or "-", m.meaning, code(m.otel)) for m in METRICS]
    return f"{HEAD}\n\n{table(('metric', 'kind', 'labels', 'meaning', 'in OpenTelemetry'), rows)}\n"
