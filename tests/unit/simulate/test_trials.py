"""What a candidate shows on one simulated node: littoral_cloud.simulate.trials."""

from __future__ import annotations

import itertools
from dataclasses import fields

import numpy as np
import pytest

from littoral.telemetry import quantile
from littoral_cloud.fleet.evidence import NodeEvidence
from littoral_cloud.simulate.agent import ProbationFailed, ProbationPassed, ProbationPolicy, Update
from littoral_cloud.simulate.population import NodeTraits
from littoral_cloud.simulate.scenario import NodeGroup, SimulatedArtifact
from littoral_cloud.simulate.trials import SimulatedTrial

BEFORE = SimulatedArtifact(name="before", bytes=1_000, accuracy=0.95, serving=True)
GOOD = SimulatedArtifact(name="good", bytes=1_000, accuracy=0.95, p95_ms=4.0)
FAILING = SimulatedArtifact(name="failing", bytes=1_000, accuracy=0.95, failure_rate=0.05)
WORSE = SimulatedArtifact(name="worse", bytes=1_000, accuracy=0.95, field_accuracy=0.80)
POLICY = ProbationPolicy(duration_s=600.0, evidence_s=3_600.0, compare=500, shadow_s=60.0)


def trial(artifact: SimulatedArtifact, seed: int = 1, **group: float) -> SimulatedTrial:
    traits = NodeTraits("a", "a", NodeGroup(name="g", nodes=1, **group), 0.0, 0.0, 1.0, 1.0, 0.0, None)  # type: ignore[arg-type]
    return SimulatedTrial(Update("m", "x", 1, POLICY), artifact, BEFORE, traits, np.random.default_rng(seed), 3_600.0)


@pytest.mark.parametrize("seed", range(20))
def test_evidence_only_grows_and_is_what_the_cloud_takes(seed: int) -> None:
    shown = trial(GOOD, seed, requests_per_s=0.7, failing=0.02, labelled=300)
    seen: list[NodeEvidence] = [shown.told()]
    shown.shadow(POLICY.shadow_s)
    seen.append(shown.told())
    ends, _ = shown.watch()
    at = 0.0
    while at < ends:
        at = shown.next_report_s(at, ends)
        shown.at(at)
        seen.append(shown.told())
    for _ in range(5):
        shown.serves(120.0)
        seen.append(shown.told())
    for each in seen:
        each.check("evidence")
    names = [f.name for f in fields(NodeEvidence) if isinstance(getattr(seen[0], f.name), int)]
    assert all(getattr(a, n) <= getattr(b, n) for a, b in itertools.pairwise(seen) for n in names)
    assert seen[-1].examples == 300
    assert seen[-1].compared > 0
    assert seen[-1].shadowed > 0


def test_a_failing_model_is_seen_at_the_failure_that_is_one_too_many() -> None:
    shown = trial(FAILING, requests_per_s=2.0)
    ends, event = shown.watch()
    assert isinstance(event, ProbationFailed)
    assert event.reason == "failure-rate"
    assert 0 < ends < POLICY.duration_s
    assert event.findings is not None
    assert event.findings.failed_requests >= 5


def test_a_model_that_is_much_worse_on_the_nodes_own_examples_is_seen_at_once() -> None:
    ends, event = trial(WORSE, labelled=500).watch()
    assert (ends, type(event)) == (0.0, ProbationFailed)


def test_without_requests_and_examples_a_probation_passes() -> None:
    ends, event = trial(WORSE, requests_per_s=0.0).watch()
    assert (ends, type(event)) == (POLICY.duration_s, ProbationPassed)


def test_latency_is_drawn_with_the_scenarios_95th_percentile() -> None:
    shown = trial(GOOD, requests_per_s=10.0)
    shown.serves(10_000.0)
    assert quantile(shown.evidence.latency.spread(), 0.95) == pytest.approx(4.0, rel=0.05)
    assert quantile(shown.evidence.latency_before.spread(), 0.95) == pytest.approx(2.0, rel=0.05)


def test_a_report_is_due_when_the_evidence_has_grown_by_half() -> None:
    shown = trial(GOOD, requests_per_s=1.0)
    ends, _ = shown.watch()
    first = shown.next_report_s(0.0, ends)
    before = shown.told().requests
    second = shown.next_report_s(first, ends)
    assert first == 20.0
    assert second >= first + 20.0
    assert shown.evidence.requests + shown.evidence.compared > 1.5 * before
