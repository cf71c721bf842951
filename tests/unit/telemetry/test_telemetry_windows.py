"""What a node counts, and how windows are cut."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral.manifest import Manifest
from littoral.sketch import Sketch, sketch_id
from littoral.telemetry import LATENCY_BOUNDS_MS, quantile
from littoral_node.telemetry.counting import RequestCounts, TelemetryReport, TelemetryWindows
from tests.kit.models import CLASSES, artifact, images, logits_of, weights

MODEL = "tiny"


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return artifact(tmp_path_factory.mktemp("artifact"))


def answer(
    telemetry: TelemetryWindows, manifest: Manifest, digest: str = "one", *, count: int = 1, seed: int = 0, ms: float = 1.0
) -> None:
    x = images(count, seed)
    telemetry.observe(MODEL, manifest, digest, x, logits_of(x, weights()).argmax(axis=1).tolist(), ms / 1_000, ok=True)


def fail(telemetry: TelemetryWindows, manifest: Manifest, digest: str = "one") -> None:
    telemetry.observe(MODEL, manifest, digest, images(1), None, 0.001, ok=False)


def only(reports: Sequence[TelemetryReport]) -> TelemetryReport:
    (report,) = reports
    return report


def test_a_window_holds_what_came_since_the_one_before(manifest: Manifest) -> None:
    telemetry = TelemetryWindows(monotonic=iter([5.0, 25.0]).__next__)
    answer(telemetry, manifest, count=3, ms=1.0)
    answer(telemetry, manifest, count=2, ms=20_000)
    fail(telemetry, manifest)
    first = only(telemetry.reports(1_000.0))
    assert (first.window_start, first.window_end) == (980.0, 1_000.0)
    assert (first.model, first.manifest_digest, first.requests, first.failed_requests) == (MODEL, "one", 3, 1)
    assert len(first.latency_counts) == len(LATENCY_BOUNDS_MS) + 1
    assert sum(first.latency_counts) == 2
    assert first.latency_counts[-1] == 1
    assert 0.8 <= quantile(first.latency_counts, 0.5) <= 1.0
    assert len(first.class_counts) == CLASSES
    assert sum(first.class_counts) == 5
    assert first.rss_bytes > 10_000_000
    assert first.cpu_seconds > 0
    assert telemetry.reports(1_010.0) == []
    answer(telemetry, manifest)
    second = only(telemetry.reports(1_020.0))
    assert (second.window_start, second.window_end, second.requests, second.failed_requests) == (1_010.0, 1_020.0, 1, 0)


def test_counters_only_grow_and_outlive_windows_and_swaps(manifest: Manifest) -> None:
    telemetry = TelemetryWindows()
    assert telemetry.counts(MODEL) == RequestCounts(0, 0)
    answer(telemetry, manifest)
    fail(telemetry, manifest, "two")
    telemetry.reports(1.0)
    answer(telemetry, manifest, "two")
    assert telemetry.counts(MODEL) == RequestCounts(3, 1)


def test_each_manifest_has_its_own_window(manifest: Manifest) -> None:
    telemetry = TelemetryWindows()
    for digest, requests in (("one", 2), ("two", 3)):
        for _ in range(requests):
            answer(telemetry, manifest, digest)
    assert [(r.manifest_digest, r.requests) for r in telemetry.reports(1.0)] == [("one", 2), ("two", 3)]


def test_a_clock_that_was_set_back_gives_no_negative_window(manifest: Manifest) -> None:
    telemetry = TelemetryWindows()
    telemetry.reports(1_000.0)
    answer(telemetry, manifest)
    report = only(telemetry.reports(400.0))
    assert (report.window_start, report.window_end) == (400.0, 400.0)


@given(st.lists(st.integers(1, 90), min_size=1, max_size=12))
def test_the_sketch_is_the_one_of_all_inputs_however_they_came(counts: list[int]) -> None:
    # Built without a fixture: hypothesis runs it many times.
    manifest = _manifest()
    telemetry, whole = TelemetryWindows(), Sketch(manifest.sketch)
    for seed, count in enumerate(counts):
        answer(telemetry, manifest, count=count, seed=seed)
        whole.add(images(count, seed))
    report = only(telemetry.reports(1.0))
    assert report.inputs is not None
    assert report.inputs.examples == sum(counts)
    assert report.inputs.sketch_id == sketch_id(manifest.sketch, 16)
    np.testing.assert_array_equal(report.inputs.counts, whole.counts)


def test_inputs_of_a_failed_request_are_not_sketched(manifest: Manifest) -> None:
    telemetry = TelemetryWindows()
    fail(telemetry, manifest)
    report = only(telemetry.reports(1.0))
    assert report.inputs is None
    assert report.class_counts == (0,) * CLASSES


def test_another_spec_gives_another_sketch_id(manifest: Manifest) -> None:
    telemetry = TelemetryWindows()
    other = replace(manifest, sketch=replace(manifest.sketch, seed=99))
    answer(telemetry, manifest, "one")
    answer(telemetry, other, "two")
    first, second = telemetry.reports(1.0)
    assert first.inputs is not None
    assert second.inputs is not None
    assert first.inputs.sketch_id != second.inputs.sketch_id


def test_own_memory_and_cpu_are_read() -> None:
    """In a process of its own: here an allocator may have as much to give again, and nothing would grow."""
    words = """
from littoral.usage import cpu_seconds, rss_bytes
before, used = rss_bytes(), cpu_seconds()
held = bytearray(64_000_000)
held[::4096] = b"x" * len(held[::4096])  # touched: it is resident now
assert 60_000_000 < rss_bytes() - before < 80_000_000, (before, rss_bytes())
assert cpu_seconds() > used
"""
    assert subprocess.run([sys.executable, "-c", words], check=False).returncode == 0


_made: list[Manifest] = []


def _manifest() -> Manifest:
    if not _made:
        from tempfile import TemporaryDirectory

        with TemporaryDirectory() as folder:
            _made.append(artifact(Path(folder)))
    return _made[0]
