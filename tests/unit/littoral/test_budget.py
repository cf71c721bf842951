"""Budgets as operators write them, and the choice that they bound."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral.budget import Budget, Measured, best_fit, excesses, nearest
from littoral.errors import BadInput, NoFit

numbers = st.one_of(st.none(), st.integers(1, 10**9))
budgets = st.builds(
    Budget,
    latency_ms=st.one_of(st.none(), st.floats(1e-6, 1e9)),
    artifact_bytes=numbers,
    peak_rss_bytes=numbers,
    energy_mj=st.one_of(st.none(), st.floats(1e-6, 1e9)),
    runtimes=st.lists(st.sampled_from(("ncnn", "onnxruntime")), unique=True).map(tuple),
    worst_class=st.one_of(st.none(), st.floats(0, 1)),
)
candidates = st.builds(
    Measured,
    manifest_digest=st.text("0123456789abcdef", min_size=4, max_size=4),
    name=st.just("x"),
    runtime=st.sampled_from(("ncnn", "onnxruntime")),
    accuracy=st.floats(0, 1),
    artifact_bytes=st.integers(1, 10**6),
    latency_ms=st.floats(0.001, 100),
    peak_rss_bytes=st.integers(0, 10**8),
    samples=st.just(10),
    energy_mj=st.one_of(st.none(), st.floats(0.001, 10)),
    worst_class=st.one_of(st.none(), st.floats(0, 1)),
    worst_label=st.just("8"),
)


def one(**fields: object) -> Measured:
    values = {
        "manifest_digest": "d",
        "name": "x",
        "runtime": "ncnn",
        "accuracy": 0.9,
        "artifact_bytes": 10,
        "latency_ms": 1.0,
        "peak_rss_bytes": 1,
        "samples": 1,
    }
    return Measured(**{**values, **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("", Budget()),
        ("artifact<=20KB", Budget(artifact_bytes=20_000)),
        ("artifact <= 1 MiB", Budget(artifact_bytes=1_048_576)),
        ("p95<=2ms, rss<=8MB", Budget(latency_ms=2.0, peak_rss_bytes=8_000_000)),
        ("p95<=500us", Budget(latency_ms=0.5)),
        ("energy<=1.5mJ,runtime=ncnn", Budget(energy_mj=1.5, runtimes=("ncnn",))),
        ("runtime=ncnn,runtime=onnxruntime", Budget(runtimes=("ncnn", "onnxruntime"))),
        ("worst>=97%", Budget(worst_class=0.97)),
        ("artifact<=20KB, worst >= 0.97", Budget(artifact_bytes=20_000, worst_class=0.97)),
        ("worst>=98.7%", Budget(worst_class=0.987)),
        ("worst>=0", Budget(worst_class=0.0)),
    ],
)
def test_a_budget_is_read_as_operators_write_it(text: str, budget: Budget) -> None:
    assert Budget.parse(text) == budget


@pytest.mark.parametrize(
    "text",
    [
        "artifact<20KB",
        "size<=3",
        "artifact<=",
        "p95<=2KB",
        "artifact<=-1",
        "artifact<=1e3",
        "worst<=97%",
        "artifact>=20KB",
        "worst>=97",
        "worst>=101%",
        "worst>=0.9ms",
        "p95<=3%",
    ],
)
def test_what_is_no_limit_is_refused_and_named(text: str) -> None:
    with pytest.raises(BadInput, match="budget: "):
        Budget.parse(text)


@given(budgets)
def test_what_is_printed_is_read_again(budget: Budget) -> None:
    assert Budget.parse(str(budget)) == budget


@given(st.lists(candidates, max_size=6), budgets)
def test_the_choice_is_inside_the_budget_and_nothing_better_is(found: list[Measured], budget: Budget) -> None:
    fitting = [c for c in found if not excesses(c, budget)]
    if not fitting:
        with pytest.raises(NoFit):
            best_fit(found, budget)
        return
    chosen = best_fit(found, budget)
    assert chosen in fitting
    assert all(c.accuracy <= chosen.accuracy for c in fitting)


@given(st.lists(candidates, min_size=1, max_size=6), budgets, st.randoms())
def test_the_order_of_the_candidates_does_not_matter(found: list[Measured], budget: Budget, rng: object) -> None:
    shuffled = list(found)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    try:
        chosen = best_fit(found, budget)
    except NoFit:
        with pytest.raises(NoFit):
            best_fit(shuffled, budget)
        return
    other = best_fit(shuffled, budget)
    key = (chosen.accuracy, chosen.latency_ms, chosen.artifact_bytes, chosen.manifest_digest)
    assert (other.accuracy, other.latency_ms, other.artifact_bytes, other.manifest_digest) == key


def test_equal_accuracy_goes_to_the_smaller_then_to_the_faster_whatever_noise_the_clock_has() -> None:
    fast, slow, small = one(latency_ms=1.1, name="a"), one(latency_ms=1.9, name="b"), one(latency_ms=9.0, artifact_bytes=8)
    assert best_fit([slow, fast, small], Budget()) is small
    for noise in (1.0, 1.4, 1.99):
        assert best_fit([slow, replace(fast, latency_ms=noise)], Budget()).name == "a"
        assert best_fit([replace(slow, latency_ms=noise), fast], Budget()).name == "a"


def test_of_sizes_within_five_percent_the_faster_is_chosen() -> None:
    slow, fast = one(artifact_bytes=3439, latency_ms=0.04, name="a"), one(artifact_bytes=3440, latency_ms=0.01, name="b")
    assert best_fit([slow, fast], Budget()) is fast
    assert best_fit([slow, replace(fast, artifact_bytes=3612)], Budget()) is slow  # 5.03 % larger
    assert best_fit([slow, replace(fast, artifact_bytes=3610)], Budget()).name == "b"
    assert best_fit([slow, replace(fast, latency_ms=0.035)], Budget()) is slow  # about as fast, and smaller
    assert best_fit([slow, replace(fast, accuracy=slow.accuracy - 1e-4)], Budget()) is slow  # accuracy comes first
    # What is compared with is the smallest: no chain of small steps leads to a large one.
    steps = [one(artifact_bytes=size, latency_ms=64.0 / i, name=str(i)) for i, size in enumerate((1000, 1040, 1080), 1)]
    assert best_fit(steps, Budget()).name == "2"


@given(st.lists(candidates, min_size=1, max_size=6), budgets, budgets)
def test_a_wider_budget_never_gives_a_less_accurate_choice(found: list[Measured], budget: Budget, other: Budget) -> None:
    wide = wider(budget, other)
    try:
        narrow = best_fit(found, budget)
    except NoFit:
        return
    assert best_fit(found, wide).score >= narrow.score


def wider(one: Budget, other: Budget) -> Budget:
    """Of each limit the looser one."""
    values: dict[str, Any] = {}
    for field in fields(Budget):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if field.name == "runtimes":
            values[field.name] = tuple(dict.fromkeys((*a, *b))) if a and b else ()
        elif a is None or b is None:
            values[field.name] = None
        else:
            values[field.name] = min(a, b) if field.name == "worst_class" else max(a, b)
    return Budget(**values)


@given(st.lists(candidates, min_size=1, max_size=6), budgets)
def test_the_choice_is_the_best_by_exhaustive_check(found: list[Measured], budget: Budget) -> None:
    """Every candidate is held against every limit by hand, and nothing that is inside comes before the choice."""

    def inside(c: Measured) -> bool:
        return (
            (not budget.runtimes or c.runtime in budget.runtimes)
            and (budget.latency_ms is None or c.latency_ms <= budget.latency_ms)
            and (budget.artifact_bytes is None or c.artifact_bytes <= budget.artifact_bytes)
            and (budget.peak_rss_bytes is None or c.peak_rss_bytes <= budget.peak_rss_bytes)
            and (budget.energy_mj is None or c.energy_mj is None or c.energy_mj <= budget.energy_mj)
            and (budget.worst_class is None or (c.worst_class is not None and c.worst_class >= budget.worst_class))
        )

    fitting = [c for c in found if inside(c)]
    try:
        chosen = best_fit(found, budget)
    except NoFit:
        assert fitting == []
        return
    assert inside(chosen)
    assert chosen.accuracy == max(c.accuracy for c in fitting)
    equals = [c for c in fitting if c.accuracy == chosen.accuracy]
    small = [c for c in equals if c.artifact_bytes * 100 <= 105 * min(e.artifact_bytes for e in equals)]
    assert chosen in small
    fastest = min(math.floor(math.log2(c.latency_ms)) if c.latency_ms else -math.inf for c in small)
    fast = [c for c in small if (math.floor(math.log2(c.latency_ms)) if c.latency_ms else -math.inf) == fastest]
    key = (chosen.artifact_bytes, chosen.name, chosen.manifest_digest)
    assert key == min((c.artifact_bytes, c.name, c.manifest_digest) for c in fast)


def test_energy_that_cannot_be_measured_binds_nobody() -> None:
    assert excesses(one(energy_mj=None), Budget(energy_mj=0.1)) == ()


def test_the_limit_that_binds_the_nearest_candidate_is_named() -> None:
    near, far = one(name="near", artifact_bytes=110), one(name="far", artifact_bytes=900, latency_ms=50.0)
    with pytest.raises(NoFit, match="nearest is near, artifact_bytes: 110 is over 100"):
        best_fit([far, near], Budget(artifact_bytes=100, latency_ms=10.0))
    with pytest.raises(NoFit, match="no candidate was measured"):
        best_fit([], Budget())


@given(candidates, budgets)
def test_no_candidate_hides_a_lost_class_behind_its_mean(candidate: Measured, budget: Budget) -> None:
    named = {excess.limit for excess in excesses(candidate, budget)}
    short = budget.worst_class is not None and (candidate.worst_class is None or candidate.worst_class < budget.worst_class)
    assert ("worst_class" in named) is short


def test_the_worst_class_is_named_where_it_binds() -> None:
    lost, even = one(name="lost", accuracy=0.99, worst_class=0.5, worst_label="8"), one(name="even", worst_class=0.88)
    assert best_fit([lost, even], Budget()) is lost
    assert best_fit([lost, even], Budget(worst_class=0.8)) is even
    with pytest.raises(NoFit, match=r"is inside worst>=0\.9; nearest is even, worst_class: 0\.88 of '' is under 0\.9"):
        best_fit([lost, even], Budget(worst_class=0.9))
    with pytest.raises(NoFit, match=r"nearest is lost, worst_class: 0\.5 of '8' is under 0\.9"):
        best_fit([lost], Budget(worst_class=0.9))


def test_a_worst_class_that_was_never_measured_is_inside_no_budget_that_bounds_it() -> None:
    unknown = one()
    assert best_fit([unknown], Budget()) is unknown
    with pytest.raises(NoFit, match=r"worst_class: not measured when it was made and wanted at least 0\.9"):
        best_fit([unknown], Budget(worst_class=0.9))
    assert best_fit([unknown, one(name="known", accuracy=0.5, worst_class=0.95)], Budget(worst_class=0.9)).name == "known"


def test_the_nearest_is_the_same_one_in_whatever_order_they_come() -> None:
    budget = Budget(artifact_bytes=100, peak_rss_bytes=1_000)
    least = one(name="b", artifact_bytes=200, peak_rss_bytes=900, accuracy=0.8, manifest_digest="9")
    ranked = [
        least,
        replace(least, name="c", manifest_digest="1"),
        replace(least, accuracy=0.7, name="a", manifest_digest="0"),
        replace(least, peak_rss_bytes=1_500, accuracy=0.99, manifest_digest="2"),  # breaks a second limit
        replace(least, peak_rss_bytes=1_900, accuracy=0.99, manifest_digest="3"),
        replace(least, artifact_bytes=201, accuracy=0.99, manifest_digest="4"),
    ]
    left = list(ranked)
    while left:
        for turned in (left, left[::-1], left[1:] + left[:1]):
            assert nearest(turned, budget) is left[0]
        left.pop(0)
