"""Metrics for Prometheus (https://prometheus.io/docs/instrumenting/exposition_formats/), under OpenTelemetry's names as
Prometheus writes them (https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/): the unit and _total
are part of a name, dots are not. Each program has a table of MetricSpec, from which docs/reference/metrics.md is written. The
first scrape imports prometheus_client.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from prometheus_client.core import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


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


class Families:
    """The metrics of one scrape: each of the table, also where it has no sample.

    Args:
        specs: the table.
    """

    def __init__(self, specs: Iterable[MetricSpec]) -> None:
        self._families = {spec.name: spec.family() for spec in specs}

    def add(self, name: str, value: float | Mapping[str, str], *labels: str) -> None:
        """One sample of a counter, a gauge or an info. Raises KeyError where the table has no such metric."""
        self._families[name].add_metric(labels, value)

    def add_all(self, name: str, values: Mapping[Any, float]) -> None:
        """One sample for each value of the one label, a text, in order."""
        for label, value in sorted(values.items()):
            self.add(name, value, label)

    def add_histogram(self, name: str, bounds: Sequence[float], counts: Sequence[int], total: float, *labels: str) -> None:
        """Args:
        bounds: upper ones, ascending, in the metric's unit.
        counts: values up to each bound and above the one before; one more count has those above the last.
        total: the sum of all values.
        """
        buckets, seen = [], 0
        for bound, count in zip(bounds, counts, strict=False):
            seen += count
            buckets.append((f"{bound:g}", float(seen)))
        self._families[name].add_metric(labels, [*buckets, ("+Inf", float(sum(counts)))], total)

    def __iter__(self) -> Iterator[Metric]:
        return iter(self._families.values())

    def exposition(self) -> bytes:
        """The text that Prometheus reads."""
        from prometheus_client import CollectorRegistry, generate_latest

        families = self

        class Scrape:
            def collect(self) -> Iterable[Metric]:
                return families

        registry = CollectorRegistry(auto_describe=False)
        registry.register(Scrape())
        return generate_latest(registry)
