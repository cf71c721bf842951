"""What a node reports of a trial: counts, and when they are worth another report."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import numpy as np

from littoral.manifest import Manifest
from littoral.telemetry import LATENCY_BOUNDS_MS
from littoral_cloud.api.wire_evidence import evidence_from
from littoral_node.telemetry.counting import TelemetryWindows
from littoral_node.update.evidence import MOST_CLASSES, LabelledPairs, Trial
from tests.kit.models import artifact

MODEL, BEFORE, CANDIDATE = "tiny", "sha256:" + "b" * 64, "sha256:" + "c" * 64


@functools.cache
def a_manifest() -> Manifest:
    with tempfile.TemporaryDirectory() as folder:
        return artifact(Path(folder))


def answered(counters: TelemetryWindows, digest: str, count: int, *, seconds: float = 0.001, ok: bool = True) -> None:
    for _ in range(count):
        counters.observe(MODEL, a_manifest(), digest, None, None, seconds, ok=ok)


def test_pairs_are_counted_by_class_of_the_label() -> None:
    labels = np.asarray([0, 0, 1, 1, 2])
    candidate, before = np.asarray([True, False, False, True, True]), np.asarray([True, True, False, False, True])
    pairs = LabelledPairs.of(labels, candidate, before)
    assert (pairs.examples, pairs.worse, pairs.better) == ((2, 2, 1), (1, 0, 0), (0, 1, 0))
    assert LabelledPairs.of(labels[:0], candidate[:0], before[:0]).examples == ()


def test_the_message_holds_both_models_and_the_latency_of_the_own_process_alone() -> None:
    counters = TelemetryWindows()
    answered(counters, BEFORE, 3)
    counters.reports(1.0)
    answered(counters, BEFORE, 1, ok=False)
    trial = Trial(MODEL, CANDIDATE, BEFORE, 60.0)
    answered(counters, CANDIDATE, 5, seconds=0.5)  # through the pipe
    trial.adopted(counters)
    answered(counters, CANDIDATE, 2)
    trial.compared.asked, trial.compared.agreed = 4, 3
    trial.labelled = LabelledPairs((2, 2), (1, 0), (0, 1))
    found = evidence_from(trial.message(counters))
    assert found is not None
    assert (found.requests, found.failed, found.requests_before, found.failed_before) == (7, 0, 4, 1)
    assert (found.latency.counts, found.latency_before.counts) == ((2,), (3,))
    assert LATENCY_BOUNDS_MS[found.latency.first] >= 1.0
    assert (found.examples, found.worse, found.better, found.class_worse) == (4, 1, 1, (1, 0))
    assert (found.compared, found.agreed) == (4, 3)


def test_many_classes_are_added_up_alone() -> None:
    trial = Trial(
        MODEL, CANDIDATE, "", 60.0, labelled=LabelledPairs(*((1,) * (MOST_CLASSES + 1),) * 2, (0,) * (MOST_CLASSES + 1))
    )
    found = evidence_from(trial.message(TelemetryWindows()))
    assert found is not None
    assert (found.examples, found.class_examples) == (MOST_CLASSES + 1, ())


def test_where_nothing_was_counted_the_cloud_holds_nothing() -> None:
    assert evidence_from(Trial(MODEL, CANDIDATE, BEFORE, 60.0).message(TelemetryWindows())) is None


def test_evidence_is_reported_when_it_has_grown_by_half_and_only_for_as_long_as_was_asked() -> None:
    counters, trial = TelemetryWindows(), Trial(MODEL, CANDIDATE, BEFORE, 60.0, answers_since=1_000.0)
    assert not trial.grown(counters, 1_000.0)
    answered(counters, CANDIDATE, 10)
    assert trial.grown(counters, 1_000.0)
    trial.message(counters)
    assert not trial.grown(counters, 1_000.0)
    answered(counters, CANDIDATE, 5)
    assert not trial.grown(counters, 1_000.0)
    answered(counters, CANDIDATE, 1)
    assert trial.grown(counters, 1_059.0)
    assert not trial.grown(counters, 1_061.0)
    assert not Trial(MODEL, CANDIDATE, BEFORE, 0.0).grown(counters, 0.0)  # no gate asks


def test_counts_of_an_artifact_outlive_the_cut_of_a_window_and_old_ones_go() -> None:
    counters = TelemetryWindows()
    for cut in range(1, 8):
        answered(counters, f"sha256:{cut:064d}", cut)
        counters.reports(float(cut))
    assert counters.of_artifact(MODEL, f"sha256:{7:064d}").requests == 7
    assert counters.of_artifact(MODEL, f"sha256:{1:064d}").requests == 0
