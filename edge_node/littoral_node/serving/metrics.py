"""The agent's metrics for Prometheus; docs/reference/metrics.md lists METRICS."""

from __future__ import annotations

from collections.abc import Sequence

from littoral.exposition import Families, MetricSpec
from littoral.telemetry import LATENCY_BOUNDS_MS
from littoral.usage import cpu_seconds, rss_bytes
from littoral_node.serving.slots import Slots
from littoral_node.telemetry.counting import TelemetryWindows, Total

_MODEL = ("model",)
DURATION = "littoral_inference_duration_seconds"

METRICS = (
    MetricSpec(
        DURATION,
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
    families = Families(METRICS)
    families.add("process_memory_usage_bytes", rss_bytes())
    families.add("process_cpu_time_seconds_total", cpu_seconds())
    for model, total in sorted(telemetry.totals().items()):
        families.add_histogram(DURATION, *_buckets(total), total.seconds, model)
        families.add("littoral_inference_requests_total", total.requests, model)
        families.add("littoral_inference_failures_total", total.failed, model)
        families.add("littoral_offload_asked_total", total.offload_asked, model)
        families.add("littoral_offload_answered_total", total.offload_answered, model)
        for code, count in sorted(total.refused.items()):
            families.add("littoral_inference_refused_total", count, model, code)
    for model in slots.names():
        if (holds := slots.get(model)) is not None:
            manifest = holds.manifest
            about = {"student": manifest.name, "runtime": manifest.runtime, "digest": holds.manifest_digest}
            families.add("littoral_model_info", about, model)
    return families.exposition()


def _buckets(total: Total) -> tuple[Sequence[float], Sequence[int]]:
    """Upper bounds in seconds, and how many took at most that and more than the bound before; at last those above."""
    counts = total.latency
    places = range(0, len(LATENCY_BOUNDS_MS), EVERY)
    bounds = [LATENCY_BOUNDS_MS[place] / 1_000 for place in places]
    within = [sum(counts[max(0, place - EVERY + 1) : place + 1]) for place in places]
    return bounds, [*within, sum(counts[places[-1] + 1 :])]
