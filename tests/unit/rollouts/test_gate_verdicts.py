"""Each gate on plain numbers: what passes, what fails, what needs more; and the error of the bound behind them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from littoral.errors import BadInput
from littoral.telemetry import LATENCY_BOUNDS_MS
from littoral_cloud.fleet.evidence import LatencyBins, NodeEvidence
from littoral_cloud.rollouts.gates import GATES, GateAnswer, gate_named, judge
from littoral_cloud.rollouts.gates.confidence import (
    Values,
    about_more,
    at_least,
    at_most,
    log_evidence_above,
    surely_above,
    surely_below,
)
from littoral_cloud.rollouts.gates.evidence import MOST_OF_NODE, Evidence, EvidencePool, Paired, ShareCount

PASS, FAIL, NEEDS_MORE = GateAnswer.PASS, GateAnswer.FAIL, GateAnswer.NEEDS_MORE


def verdict(name: str, **evidence: object) -> GateAnswer:
    gate = gate_named(name)
    return gate.judge(Evidence(**evidence), gate.limit).answer  # type: ignore[arg-type]


def histogram(scale: float, count: int, seed: int) -> tuple[int, ...]:
    """Of lognormal times around `scale` ms."""
    places = np.searchsorted(LATENCY_BOUNDS_MS, np.random.default_rng(seed).lognormal(math.log(scale), 0.4, count))
    return tuple(np.bincount(places, minlength=len(LATENCY_BOUNDS_MS) + 1).tolist())


# -- the bound ------------------------------------------------------------------------------------------------------------


def test_who_looks_always_is_wrong_no_oftener_than_stated() -> None:
    """400 streams at the limit itself, each looked at 60 times."""
    rng, error, wrong = np.random.default_rng(5), 0.05, 0
    looks = np.unique(np.geomspace(5, 3_000, 60).astype(int))
    for _ in range(400):
        hits = (rng.random(3_000) < 0.05).cumsum()
        wrong += any(surely_above(Values(n, int(hits[n - 1])), 0.05, error) for n in looks)
    assert wrong <= 400 * error


def test_the_error_holds_for_the_average_of_nodes_that_differ() -> None:
    """A tenth of the values fails at 40 %, the others at 1 %: the average is 4.9 %, limit 5 %."""
    rng, wrong = np.random.default_rng(6), 0
    for _ in range(300):
        chances = np.where(np.arange(2_000) % 10 == 0, 0.40, 0.0111)
        hits = (rng.random(2_000) < chances).cumsum()
        wrong += any(surely_above(Values(n, int(hits[n - 1])), 0.05, 0.05) for n in range(20, 2_001, 40))
    assert wrong <= 15


def test_signed_values_are_bounded_as_well() -> None:
    rng, wrong = np.random.default_rng(7), 0
    for _ in range(300):
        drawn = rng.choice([1, -1, 0], p=[0.05, 0.03, 0.92], size=2_000)
        plus, minus = (drawn == 1).cumsum(), (drawn == -1).cumsum()
        values = [Values(n, int(plus[n - 1]), int(minus[n - 1]), signed=True) for n in range(20, 2_001, 60)]
        wrong += any(surely_above(each, 0.02, 0.05) or surely_below(each, 0.02, 0.05) for each in values)
    assert wrong <= 30  # two sides


def test_an_interval_holds_what_was_seen_and_closes() -> None:
    widths = [at_most(Values(n, n * 0.05), 0.001) - at_least(Values(n, n * 0.05), 0.001) for n in (100, 1_000, 10_000)]
    assert widths[0] > widths[1] > widths[2]
    assert at_least(Values(1_000, 50), 0.001) < 0.05 < at_most(Values(1_000, 50), 0.001)
    assert (at_least(Values(50, 0), 0.001), at_most(Values(50, 50), 0.001)) == (0.0, 1.0)
    assert at_most(Values(0, 0), 0.001) == 1.0
    assert log_evidence_above(Values(10, 10), 1.0) == 0.0


# -- the gates ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(GATES))
def test_without_evidence_every_gate_needs_more_and_says_how_many(name: str) -> None:
    found = judge({name: GATES[name].limit}, Evidence())[name]
    assert found.answer is NEEDS_MORE
    assert found.more >= 1
    assert found.of in str(found)


def test_an_unknown_gate_is_refused_with_a_suggestion() -> None:
    with pytest.raises(BadInput, match="failurerate") as caught:
        gate_named("failurerate")
    assert "failure-rate" in caught.value.hint


def test_probation_passes_when_all_nodes_have() -> None:
    assert verdict("probation", passed=4) is PASS
    assert verdict("probation", passed=4, awaited=1) is NEEDS_MORE
    assert verdict("probation", passed=400, failed=1, failure="cam-7: ROLLED_BACK") is FAIL


def test_with_a_limit_a_large_wave_may_lose_a_node_and_a_canary_may_not() -> None:
    gate = gate_named("probation")
    assert gate.judge(Evidence(passed=400, failed=1, failure="cam-7: ROLLED_BACK"), 0.01).answer is PASS
    assert gate.judge(Evidence(passed=9, failed=1, failure="cam-7: ROLLED_BACK"), 0.01).answer is FAIL
    assert "5 of 405 nodes" in gate.judge(Evidence(passed=400, failed=5), 0.01).why


def test_labelled_tells_five_points_from_none_with_three_thousand_examples() -> None:
    assert verdict("labelled", labelled=Paired(count=3_000, worse=60, better=60)) is PASS
    assert verdict("labelled", labelled=Paired(count=3_000, worse=210, better=60)) is FAIL
    assert verdict("labelled", labelled=Paired(count=300, worse=21, better=6)) is NEEDS_MORE


def test_examples_on_which_both_models_agree_make_a_pass_cheaper() -> None:
    assert verdict("labelled", labelled=Paired(count=1_500, worse=5, better=5)) is PASS
    assert verdict("labelled", labelled=Paired(count=1_500, worse=75, better=75)) is NEEDS_MORE


def test_one_ruined_class_fails_where_the_whole_looks_well() -> None:
    classes = [Paired(count=500, worse=5, better=5) for _ in range(10)]
    assert verdict("worst-class", classes=tuple(classes)) is PASS
    classes[3] = Paired(count=500, worse=150, better=0)
    found = GATES["worst-class"].judge(Evidence(classes=tuple(classes)), 0.10)
    assert found.answer is FAIL
    assert "class 3" in found.why


def test_failures_that_were_usual_before_do_not_fail_a_release() -> None:
    usual = ShareCount(count=60_000, hits=3_000)
    assert verdict("failure-rate", requests=usual, requests_before=usual) is PASS
    assert verdict("failure-rate", requests=ShareCount(count=20_000, hits=1_600), requests_before=usual) is FAIL


def test_without_a_history_the_failure_rate_passes_or_needs_more() -> None:
    assert verdict("failure-rate", requests=ShareCount(count=20_000, hits=1_000)) is NEEDS_MORE
    assert verdict("failure-rate", requests=ShareCount(count=20_000, hits=20)) is PASS


def test_p95_passes_the_same_latency_and_fails_three_times_it() -> None:
    before = histogram(1.0, 3_000, 1)
    assert verdict("p95", latency=histogram(1.0, 1_000, 2), latency_before=before) is PASS
    assert verdict("p95", latency=histogram(3.0, 1_000, 2), latency_before=before) is FAIL
    assert verdict("p95", latency=histogram(1.0, 20, 2), latency_before=before) is NEEDS_MORE
    assert verdict("p95", latency=histogram(3.0, 1_000, 2)) is NEEDS_MORE


def test_p95_above_every_bound_before_can_not_be_judged() -> None:
    slow = (*(0,) * len(LATENCY_BOUNDS_MS), 5_000)
    assert verdict("p95", latency=slow, latency_before=slow) is NEEDS_MORE


@pytest.mark.parametrize(("name", "field"), [("agreement", "compared"), ("shadow", "shadowed")])
def test_agreement_is_judged_by_its_share(name: str, field: str) -> None:
    assert verdict(name, **{field: ShareCount(count=3_000, hits=2_940)}) is PASS
    assert verdict(name, **{field: ShareCount(count=3_000, hits=2_700)}) is FAIL
    assert verdict(name, **{field: ShareCount(count=100, hits=98)}) is NEEDS_MORE


# -- evidence -------------------------------------------------------------------------------------------------------------


def test_nodes_are_added_up() -> None:
    one = NodeEvidence(
        requests=100, failed=2, examples=10, worse=1, class_examples=(6, 4), class_worse=(1, 0), class_better=(0, 0)
    )
    other = NodeEvidence(requests=50, latency=LatencyBins(first=3, counts=(1, 2)), examples=5, class_examples=(1, 1, 3),
                         class_worse=(0, 0, 0), class_better=(0, 0, 0))  # fmt: skip
    pool = EvidencePool()
    pool.put("one", one)
    pool.put("other", other)
    found = pool.evidence(passed=2)
    assert (found.passed, found.requests, found.labelled) == (2, ShareCount(count=150, hits=2), Paired(count=15, worse=1))
    assert [each.count for each in found.classes] == [7, 5, 3]
    assert found.latency[3:5] == (1, 2)
    assert len(found.latency) == len(LATENCY_BOUNDS_MS) + 1


def test_what_a_node_gave_before_is_taken_out_again() -> None:
    pool, alone = EvidencePool(), EvidencePool()
    first = NodeEvidence(requests=30_000, failed=7, latency=LatencyBins(first=2, counts=(4, 5)), examples=8, class_examples=(8,),
                         class_worse=(1,), class_better=(2,))  # fmt: skip
    second = NodeEvidence(requests=40_000, failed=9, examples=8, worse=1)
    for given in (first, first, second, None, second):
        pool.put("a", given)
    alone.put("a", second)
    assert pool.evidence().requests == alone.evidence().requests
    assert pool.evidence().labelled == alone.evidence().labelled
    pool.put("a", None)
    assert sum(pool.evidence().latency) == 0
    assert pool.evidence().requests == ShareCount()


def test_one_node_does_not_outvote_the_others() -> None:
    liar = NodeEvidence(requests=10**12, failed=0)
    others = [NodeEvidence(requests=1_000, failed=50, requests_before=1_000) for _ in range(100)]
    pool = EvidencePool()
    for number, node in enumerate([liar, *others]):
        pool.put(str(number), node)
    found = pool.evidence()
    assert found.requests.count == MOST_OF_NODE + 100_000
    assert GATES["failure-rate"].judge(found, 0.01).answer is FAIL


@pytest.mark.parametrize(
    ("evidence", "field"),
    [
        (NodeEvidence(requests=1, failed=2), "failed"),
        (NodeEvidence(requests_before=1, failed_before=2), "failed_before"),
        (NodeEvidence(examples=3, worse=2, better=2), "worse"),
        (NodeEvidence(compared=1, agreed=2), "agreed"),
        (NodeEvidence(shadowed=2, shadow_agreed=2, shadow_failed=1), "shadow_agreed"),
        (NodeEvidence(latency=LatencyBins(first=60, counts=(1, 1, 1))), "latency"),
        (NodeEvidence(class_examples=(1,) * 101), "class_examples"),
        (NodeEvidence(class_examples=(1,), class_worse=(1,)), "class_worse"),
        (NodeEvidence(class_examples=(1,), class_worse=(1,), class_better=(1,)), "class_worse"),
    ],
)
def test_counts_that_cannot_be_are_refused(evidence: NodeEvidence, field: str) -> None:
    with pytest.raises(BadInput, match=rf"reported\.{field}"):
        evidence.check("reported")


@pytest.mark.parametrize(
    ("values", "limit"),
    [
        (Values(100, 0), 0.05),
        (Values(100, 3), 0.01),
        (Values(200, 194), 0.95),
        (Values(200, 3, 3, signed=True), 0.02),
        (Values(200, 14, 3, signed=True), 0.02),
    ],
)
def test_with_about_as_many_more_as_a_gate_asks_for_it_is_decided(values: Values, limit: float) -> None:
    def decided(count: float) -> bool:
        scale = count / values.count
        seen = Values(count, values.plus * scale, values.minus * scale, signed=values.signed)
        return surely_above(seen, limit, 0.001) or surely_below(seen, limit, 0.001)

    wanted = values.count + about_more(values, limit, 0.001)
    assert not decided(values.count)
    assert decided(wanted * 1.1)
    assert not decided(wanted * 0.5)
