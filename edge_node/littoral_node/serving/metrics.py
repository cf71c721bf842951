"""The agent's metrics for Prometheus (https://prometheus.io/docs/instrumenting/exposition_formats/), under OpenTelemetry's
names as Prometheus writes them (https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/): the unit and
_total are part of a name, dots are not. docs/reference/metrics.md lists METRICS. The first scrape imports prometheus_client.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from littoral.telemetry import LATENCY_BOUNDS_MS
from littoral_node.serving.slots import Slots
from littoral_node.telemetry.counting import TelemetryWindows, Total, cpu_seconds, rss_bytes

if TYPE_CHECKING:
    from prometheus_client.core import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_MODEL = ("model",)


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """A metric. `otel`: its name in OpenTelemetry. `kind`: of prometheus_client's metric families."""

    name: str
    otel: str
    kind: Literal["Counter", "Gauge", "Histogram", "Info"]
    labels: tuple[str, ...]
    meaning: str

    def family(self) -> Any:
        from prometheus_client import core

        made = getattr(core, f"{self.kind}MetricFamily")
        return made(self.name.removesuffix("_total").removesuffix("_info"), self.meaning, labels=self.labels)


METRICS = (
    MetricSpec(
        "littoral_inference_duration_seconds",
        "littoral.inference.duration",
        "Histogram",
        _MODEL,
        "From the decoded request to the tensors of the answer.",
    ),
    MetricSpec(
        "littoral_inference_requests_total", "littoral.inference.requests", "Counter", _MODEL, "Requests that reached a model."
    ),
    MetricSpec(
        "littoral_inference_failures_total", "littoral.inference.failures", "Counter", _MODEL, "Of those, without an answer."
    ),
    MetricSpec(
        "littoral_inference_refused_total",
        "littoral.inference.refused",
        "Counter",
        ("model", "code"),
        "Requests that are not counted above: the client's fault (4xx), or overload.",
    ),
    MetricSpec(
        "littoral_offload_asked_total", "littoral.offload.asked", "Counter", _MODEL, "Requests sent on to the cloud's teacher."
    ),
    MetricSpec("littoral_offload_answered_total", "littoral.offload.answered", "Counter", _MODEL, "Of those, with an answer."),
    MetricSpec("littoral_model_info", "littoral.model", "Info", _MODEL, "The served artifact: student, runtime, digest."),
    MetricSpec("process_memory_usage_bytes", "process.memory.usage", "Gauge", (), "Resident memory of the agent."),
    MetricSpec("process_cpu_time_seconds_total", "process.cpu.time", "Counter", (), "Processor time of the agent."),
)
EVERY = 5
"""Every fifth bound, two a decade: counts up to a bound stay exact."""


def exposition(telemetry: TelemetryWindows, slots: Slots) -> bytes:
    """The text of one scrape: totals since the start of this process."""
    from prometheus_client import CollectorRegistry, generate_latest

    class Scrape:
        def collect(self) -> Iterable[Metric]:
            return _families(telemetry, slots)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Scrape())
    return generate_latest(registry)


def _families(telemetry: TelemetryWindows, slots: Slots) -> Iterator[Metric]:
    families = {spec.name: spec.family() for spec in METRICS}
    families["process_memory_usage_bytes"].add_metric([], rss_bytes())
    families["process_cpu_time_seconds_total"].add_metric([], cpu_seconds())
    for model, total in sorted(telemetry.totals().items()):
        families["littoral_inference_duration_seconds"].add_metric([model], _buckets(total), total.seconds)
        families["littoral_inference_requests_total"].add_metric([model], total.requests)
        families["littoral_inference_failures_total"].add_metric([model], total.failed)
        families["littoral_offload_asked_total"].add_metric([model], total.offload_asked)
        families["littoral_offload_answered_total"].add_metric([model], total.offload_answered)
        for code, count in sorted(total.refused.items()):
            families["littoral_inference_refused_total"].add_metric([model, code], count)
    for model in slots.names():
        if (holds := slots.get(model)) is not None:
            manifest = holds.manifest
            about = {"student": manifest.name, "runtime": manifest.runtime, "digest": holds.manifest_digest}
            families["littoral_model_info"].add_metric([model], about)
    yield from families.values()


def _buckets(total: Total) -> list[tuple[str, float]]:
    """(upper bound in seconds, how many were at most that)."""
    buckets, seen = [], 0
    for place, (bound, count) in enumerate(zip(LATENCY_BOUNDS_MS, total.latency, strict=False)):
        seen += count
        if place % EVERY == 0:
            buckets.append((f"{bound / 1_000:g}", float(seen)))
    return [*buckets, ("+Inf", float(sum(total.latency)))]
