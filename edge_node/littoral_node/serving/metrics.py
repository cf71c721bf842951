"""What a Prometheus server scrapes (https://prometheus.io/docs/instrumenting/exposition_formats/), under OpenTelemetry's names as
Prometheus writes them (https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/): the unit and _total
are part of a name, dots are not. The packages for it are imported when somebody scrapes for the first time.

| OpenTelemetry | here | labels |
|---|---|---|
| littoral.inference.duration | littoral_inference_duration_seconds | model |
| littoral.inference.requests | littoral_inference_requests_total | model |
| littoral.inference.failures | littoral_inference_failures_total | model |
| littoral.inference.refused | littoral_inference_refused_total | model, code |
| littoral.offload.asked | littoral_joint_asked_total | model |
| littoral.offload.answered | littoral_joint_answered_total | model |
| littoral.model | littoral_model_info | model, student, runtime, digest |
| process.memory.usage | process_memory_usage_bytes | |
| process.cpu.time | process_cpu_time_seconds_total | |
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from littoral.telemetry import LATENCY_BOUNDS_MS
from littoral_node.serving.slots import Slots
from littoral_node.telemetry.counting import Telemetry, Total, cpu_seconds, rss_bytes

if TYPE_CHECKING:
    from prometheus_client.core import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
EVERY = 5
"""Every fifth bound, two a decade: counts up to a bound stay exact."""


def exposition(telemetry: Telemetry, slots: Slots) -> bytes:
    """The text of one scrape: totals since this process began."""
    from prometheus_client import CollectorRegistry, generate_latest

    class Found:
        def collect(self) -> Iterable[Metric]:
            return _metrics(telemetry, slots)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Found())
    return generate_latest(registry)


def _metrics(telemetry: Telemetry, slots: Slots) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily

    taken = HistogramMetricFamily(
        "littoral_inference_duration_seconds", "From the decoded request to the tensors of the answer.", labels=["model"]
    )
    requests = CounterMetricFamily("littoral_inference_requests", "Requests that reached a model.", labels=["model"])
    failures = CounterMetricFamily("littoral_inference_failures", "Of those, the ones that it did not answer.", labels=["model"])
    refused = CounterMetricFamily(
        "littoral_inference_refused",
        "Requests that are not counted above: the client's fault (4xx), or no room.",
        labels=["model", "code"],
    )
    asked = CounterMetricFamily("littoral_joint_asked", "Requests sent on to the cloud's teacher.", labels=["model"])
    answered = CounterMetricFamily("littoral_joint_answered", "Of those, the ones that it answered.", labels=["model"])
    for model, total in sorted(telemetry.totals().items()):
        asked.add_metric([model], total.joint_asked)
        answered.add_metric([model], total.joint_answered)
        requests.add_metric([model], total.requests)
        failures.add_metric([model], total.failed)
        taken.add_metric([model], _buckets(total), total.seconds)
        for code, count in sorted(total.refused.items()):
            refused.add_metric([model, code], count)
    served = InfoMetricFamily("littoral_model", "What is served.", labels=["model"])
    for model in slots.names():
        if (holds := slots.get(model)) is not None:
            manifest = holds.manifest
            served.add_metric([model], {"student": manifest.name, "runtime": manifest.runtime, "digest": holds.manifest_digest})
    yield from (taken, requests, failures, refused, asked, answered, served)
    yield GaugeMetricFamily("process_memory_usage_bytes", "Resident memory of the agent.", rss_bytes())
    yield CounterMetricFamily("process_cpu_time_seconds", "CPU that the agent has used.", cpu_seconds())


def _buckets(total: Total) -> list[tuple[str, float]]:
    """(upper bound in seconds, how many were at most that)."""
    buckets, seen = [], 0
    for place, (bound, count) in enumerate(zip(LATENCY_BOUNDS_MS, total.latency, strict=False)):
        seen += count
        if place % EVERY == 0:
            buckets.append((f"{bound / 1_000:g}", float(seen)))
    return [*buckets, ("+Inf", float(sum(total.latency)))]
