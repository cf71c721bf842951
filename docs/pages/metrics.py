"""docs/reference/metrics.md: the metrics of the agent and of the coordinator, from their tables."""

from __future__ import annotations

from collections.abc import Iterable

from littoral.exposition import MetricSpec
from littoral_cloud.health.metric_table import OF_THE_FLEET, OF_THE_PROCESS
from littoral_node.serving.metrics import METRICS
from pages.markdown import NOTICE, code, table

HEAD = f"""\
# Metrics

{NOTICE}
Names are OpenTelemetry's as Prometheus writes them: the unit is part of a name, and dots are underscores. Counts are since the
start of the process.

## Of a node

An agent exposes these at `/metrics` of its HTTP address."""

COORDINATOR = """\
## Of a coordinator

No label names a node, and none is a text that a node sends: the number of series does not grow with the fleet. What to watch, and
what to do: [operations.md](../operations.md#what-to-watch).

### Of this process

Add these up over coordinators."""

FLEET = """\
### Of the whole fleet

Each coordinator says the same: take the largest, `max by (state) (littoral_node_count)`."""


def page() -> str:
    parts = (HEAD, _table(METRICS), COORDINATOR, _table(OF_THE_PROCESS), FLEET, _table(OF_THE_FLEET))
    return "\n\n".join(parts) + "\n"


def _table(metrics: Iterable[MetricSpec]) -> str:
    rows = [(code(m.name), m.kind.lower(), ", ".join(m.labels) or "-", m.meaning, code(m.otel)) for m in metrics]
    return table(("metric", "kind", "labels", "meaning", "in OpenTelemetry"), rows)
