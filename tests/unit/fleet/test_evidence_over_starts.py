"""What a node has shown of a candidate adds up over the starts of its agent, in its report: gates need no memory of their own."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from littoral.telemetry import LATENCY_BOUNDS_MS
from littoral_cloud.fleet.evidence import LatencyBins, NodeEvidence
from littoral_cloud.fleet.records import Reported, ReportedModel, UpdateState
from littoral_cloud.fleet.sessions import with_all_evidence

BINS = len(LATENCY_BOUNDS_MS) + 1
MODEL = "digits"


@st.composite
def latencies(draw: st.DrawFn) -> LatencyBins:
    counts = tuple(draw(st.lists(st.integers(1, 9), max_size=5)))
    return LatencyBins(first=draw(st.integers(0, BINS - len(counts))) if counts else 0, counts=counts)


def spread(bins: LatencyBins) -> tuple[int, ...]:
    return bins.spread() or (0,) * BINS


@given(one=latencies(), other=latencies())
def test_histograms_add_up_bin_by_bin(one: LatencyBins, other: LatencyBins) -> None:
    assert spread(one + other) == tuple(a + b for a, b in zip(spread(one), spread(other), strict=True))


def said(boot: str, evidence: NodeEvidence | None, generation: int = 1) -> Reported:
    model = ReportedModel(state=UpdateState.SUCCEEDED, desired_generation=generation, target="t", evidence=evidence)
    return Reported(generation=1, observed_generation=1, models={MODEL: model}, boot_id=boot)


def known(*reports: Reported) -> NodeEvidence | None:
    """What is written after these."""
    before = None
    for report in reports:
        before = with_all_evidence(before, report)
    return before.models[MODEL].evidence if before is not None else None


@given(starts=st.lists(st.lists(st.integers(0, 50), min_size=1, max_size=4), min_size=1, max_size=4))
def test_all_that_was_shown_is_the_sum_of_the_last_report_of_each_start(starts: list[list[int]]) -> None:
    reports = [
        said(f"boot {number}", NodeEvidence(requests=count, compared=count, latency=LatencyBins(first=3, counts=(count,))))
        for number, grown in enumerate(starts)
        for count in sorted(grown)
    ]
    shown = known(*reports)
    total = sum(max(grown) for grown in starts)
    assert shown is not None
    assert (shown.requests, shown.compared, sum(shown.latency.counts)) == (total, total, total)
    shown.check("reported")


def test_a_start_that_has_shown_nothing_yet_takes_nothing_away() -> None:
    shown = NodeEvidence(requests=7, examples=40, worse=1)
    assert known(said("a", shown), said("b", None)) == shown
    assert known(said("a", shown), said("b", None), said("b", NodeEvidence(requests=2))) == NodeEvidence(
        requests=9, examples=40, worse=1
    )
    assert known(said("", shown), said("a", shown)) == shown, "an older coordinator wrote no boot"


def test_the_same_labelled_examples_count_once() -> None:
    first = NodeEvidence(examples=40, worse=1, class_examples=(40,), class_worse=(1,), class_better=(0,))
    again = NodeEvidence(examples=40, worse=2, class_examples=(40,), class_worse=(2,), class_better=(0,))
    assert known(said("a", first), said("b", again)) == again


def test_another_update_begins_anew() -> None:
    assert known(said("a", NodeEvidence(requests=7)), said("b", NodeEvidence(requests=2), 2)) == NodeEvidence(requests=2)
