"""The dashboard and the alerts ask for metrics and labels that are there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from littoral.exposition import MetricSpec
from littoral_cloud.health.metric_table import METRICS

DASHBOARDS = Path(__file__).parents[3] / "docs" / "dashboards"
OF_PROMETHEUS = frozenset({"instance", "job", "le"})
NAME = re.compile(r"\b(?:littoral|process|rpc|http)_[a-z_]*[a-z]\b(?![a-z_]*=)")
LABELS = re.compile(r'([a-z_]+)\s*(?:=~|!~|!=|=)\s*"')
BY = re.compile(r"\b(?:by|on)\s*\(([^)]*)\)")


def known() -> Mapping[str, MetricSpec]:
    """By each name that a series of it has."""
    names = {spec.name: spec for spec in METRICS}
    for spec in METRICS:
        if spec.kind == "Histogram":
            names |= {f"{spec.name}_{part}": spec for part in ("bucket", "count", "sum")}
    return names


def wrong(query: str) -> Iterator[str]:
    """Metrics that are not there, and labels that theirs do not have."""
    specs, names = known(), []
    for found in re.finditer(r"\b([a-z_]+)(\{[^{}]*\})?", query):
        name, selector = found[1], found[2] or ""
        if not NAME.fullmatch(name):
            continue
        if name in specs:
            names.append(name)
            yield from (
                f"{name}: no label {label}"
                for label in LABELS.findall(selector)
                if label not in specs[name].labels and label not in OF_PROMETHEUS
            )
        elif not any(name in spec.labels for spec in METRICS):
            yield f"no metric {name}"
    if not names:
        yield f"no metric in {query!r}"
    labels = {label for name in names for label in specs[name].labels} | OF_PROMETHEUS
    for group in BY.findall(query):
        yield from (f"no metric of {query!r} has {label}" for label in re.split(r",\s*", group) if label not in labels)


def queries() -> Iterator[tuple[str, str]]:
    dashboard = json.loads((DASHBOARDS / "coordinator.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
            yield panel["title"], f"count by ({', '.join(legend_labels(target['legendFormat']))}) ({target['expr']})"
    for rule in yaml.safe_load((DASHBOARDS / "alerts.yml").read_text())["groups"][0]["rules"]:
        yield rule["alert"], rule["expr"]


def legend_labels(legend: str) -> list[str]:
    return re.findall(r"\{\{(\w+)\}\}", legend) or ["instance"]


@pytest.mark.parametrize(("title", "query"), [*queries()])
def test_a_query_asks_for_what_is_there(title: str, query: str) -> None:
    assert list(wrong(query)) == [], title


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("rate(littoral_sessions_total[5m])", "no metric littoral_sessions_total"),
        ('littoral_node_count{node="x"}', "littoral_node_count: no label node"),
        ("max by (site) (littoral_node_count)", "no metric of 'max by (site) (littoral_node_count)' has site"),
        ("vector(1)", "no metric in 'vector(1)'"),
        ("littoral_commit_duration_seconds_buckets", "no metric littoral_commit_duration_seconds_buckets"),
    ],
)
def test_a_wrong_query_is_found(query: str, why: str) -> None:
    assert why in list(wrong(query))


def test_each_metric_of_the_coordinator_is_on_the_dashboard() -> None:
    asked = " ".join(query for _, query in queries())
    names = known()
    missing = {spec.name for spec in METRICS} - {names[name].name for name in re.findall(r"[a-z_]+", asked) if name in names}
    assert not missing


def test_panels_do_not_lie_on_each_other() -> None:
    places = [panel["gridPos"] for panel in json.loads((DASHBOARDS / "coordinator.json").read_text())["panels"]]
    cells = [
        (x, y)
        for place in places
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
