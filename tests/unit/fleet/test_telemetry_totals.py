"""Totals are right whatever is repeated, late or out of order between boots."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral.errors import BadInput
from littoral.telemetry import LATENCY_BOUNDS_MS
from littoral_cloud.fleet.ledger import Doc
from littoral_cloud.fleet.records import dump, load
from littoral_cloud.fleet.telemetry import REMEMBERED_BOOTS, TelemetryTotals, WindowReport, fold

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def report(boot: int, sequence: int, **fields: Any) -> WindowReport:
    latency = [0] * (len(LATENCY_BOUNDS_MS) + 1)
    latency[boot] = sequence
    values: dict[str, Any] = {
        "boot_id": f"{boot:032x}",
        "sequence": sequence,
        "window_start": 0.0,
        "window_end": 1.0,
        "model": "m",
        "manifest_digest": A,
        "requests": sequence,
        "failed_requests": 0,
        "latency_counts": tuple(latency),
        "class_counts": (sequence,),
        "inputs": None,
        "rss_bytes": 1,
        "cpu_seconds": 0.5,
    }
    return WindowReport(**(values | fields))


def folded(reports: list[WindowReport]) -> TelemetryTotals | None:
    total: TelemetryTotals | None = None
    for each in reports:
        total = fold(total, each, 5.0) or total
    return total


boots = st.lists(st.integers(1, 6), min_size=1, max_size=4)


@given(boots, st.data())
def test_every_report_is_counted_once(lengths: list[int], data: st.DataObject) -> None:
    """Reports of several boots, each boot in order, mixed, with any of them said again at any later time."""
    queues = [[report(boot, sequence) for sequence in range(1, length + 1)] for boot, length in enumerate(lengths)]
    once = sum(each.requests for queue in queues for each in queue)
    said: list[WindowReport] = []
    while any(queues):
        queue = data.draw(st.sampled_from([queue for queue in queues if queue]))
        said.append(queue.pop(0))
        if data.draw(st.booleans()):
            said.append(data.draw(st.sampled_from(said)))
    total = folded(said)
    assert total is not None
    assert total.totals.requests == once
    assert sum(total.totals.latency_counts) == once
    assert total.totals.class_counts == (once,)


def test_figures_of_a_model_begin_anew_with_its_manifest() -> None:
    total = folded([report(0, 1), report(0, 2), report(0, 3, manifest_digest=B, requests=7, failed_requests=2)])
    assert total is not None
    assert (total.totals.requests, total.serving.requests, total.serving.failed_requests) == (10, 7, 2)
    assert total.manifest_digest == B


def test_only_so_many_boots_are_remembered() -> None:
    total = folded([report(boot, 1) for boot in range(40)])
    assert total is not None
    assert list(total.boots) == [f"{boot:032x}" for boot in range(40 - REMEMBERED_BOOTS, 40)]


def test_totals_come_back_from_the_ledger_as_they_went() -> None:
    total = folded([report(1, 1), report(0, 1), report(1, 2)])
    assert total is not None
    kept = load(TelemetryTotals, Doc("telemetry", "n:m", 1, json.loads(json.dumps(dump(total)))))
    assert kept == total
    assert list(kept.boots) == list(total.boots), "the oldest boot is forgotten first, so their order counts"


def test_a_quantile_is_read_off_the_histogram() -> None:
    total = folded([report(0, 1, latency_counts=(*([0] * 20), 90, *([0] * 9), 10, *([0] * 31)), requests=100)])
    assert total is not None
    assert LATENCY_BOUNDS_MS[19] < total.serving.latency_ms(0.5) <= LATENCY_BOUNDS_MS[20]
    assert LATENCY_BOUNDS_MS[29] < total.serving.latency_ms(0.95) <= LATENCY_BOUNDS_MS[30]


@pytest.mark.parametrize("field", ["requests", "offload_asked"])
def test_a_count_that_would_overflow_the_totals_is_refused_by_name(field: str) -> None:
    with pytest.raises(BadInput, match=f"telemetry.{field}: 4294967297 in one window"):
        report(0, 1, **{field: 2**32 + 1})
