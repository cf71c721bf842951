"""When a probation fails, and how often it does by chance: littoral_node.update.verdict and chance."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral_node.update.chance import binomial_at_least, drawn_at_least, surely_more, surely_more_early
from littoral_node.update.events import Findings
from littoral_node.update.state import ProbationPolicy
from littoral_node.update.verdict import Before, too_often, worse_on_examples

ALONE = ProbationPolicy(max_accuracy_drop=0.05, max_failure_rate=0.01)
OF_MANY = ProbationPolicy(max_accuracy_drop=0.05, max_failure_rate=0.01, error=0.01 / 10_000)
NOTHING = Before()


def fails(policy: ProbationPolicy, failed: int, requests: int, before: Before = NOTHING, *, final: bool = True) -> bool:
    return too_often(Findings(requests=requests, failed_requests=failed), policy, before, final=final) is not None


@pytest.mark.parametrize(
    ("failed", "requests", "before", "alone", "of_many"),
    [
        (0, 0, NOTHING, False, False),
        (1, 1, NOTHING, False, False),
        (3, 3, NOTHING, True, False),
        (5, 5, NOTHING, True, True),
        (2, 109, Before(1_000, 3), False, False),  # a node in twenty sees as many of a model that is as good as before
        (9, 109, Before(1_000, 3), True, False),
        (30, 300, Before(1_000, 3), True, True),
        (60, 1_000, Before(1_000, 1), True, True),
        (60, 1_000, Before(1_000, 50), False, False),  # about as many failed before
        (60, 1_000, NOTHING, True, True),
        (60, 1_000, Before(20, 0), False, False),  # little is known of the model before
        (300, 1_000, Before(20, 0), True, True),
        (1_000, 1_000, Before(1_000, 1_000), False, False),
    ],
)
def test_a_fleet_of_many_asks_for_more_than_a_node_alone(
    failed: int, requests: int, before: Before, alone: bool, of_many: bool
) -> None:
    assert fails(ALONE, failed, requests, before) is alone
    assert fails(OF_MANY, failed, requests, before) is of_many


def test_before_the_end_only_several_failures_count() -> None:
    assert not fails(ALONE, 4, 4, final=False)
    assert fails(ALONE, 5, 5, final=False)
    assert fails(ALONE, 4, 4, final=True)


def test_refused_requests_are_judged_alike() -> None:
    wrong = too_often(Findings(requests=10, turned_away=10), ALONE, Before(100, 90), final=True)
    assert wrong is not None
    assert wrong[0] == "refuses-requests"
    assert too_often(Findings(requests=100, turned_away=1), ALONE, NOTHING, final=True) is None


@pytest.mark.parametrize(
    ("accuracy", "before", "examples", "alone", "of_many"),
    [
        (0.90, 0.96, 100, False, False),  # six examples of a hundred
        (0.90, 0.96, 400, True, False),
        (0.88, 0.96, 400, True, True),
        (0.92, 0.96, 4_000, False, False),  # surely less, and not by more than is allowed
        (0.9, 1.0, 10, False, False),
        (0.1, 1.0, 10, True, True),
        (0.96, 0.90, 100, False, False),
    ],
)
def test_a_fall_of_accuracy_is_no_chance(accuracy: float, before: float, examples: int, alone: bool, of_many: bool) -> None:
    found = Findings(accuracy=accuracy, previous_accuracy=before, examples=examples)
    assert (worse_on_examples(found, ALONE) is not None) is alone
    assert (worse_on_examples(found, OF_MANY) is not None) is of_many


def test_a_fall_of_accuracy_needs_both_models() -> None:
    assert worse_on_examples(Findings(accuracy=0.5, examples=10), ALONE) is None


@given(of=st.integers(1, 60), share=st.floats(0.001, 0.999), data=st.data())
def test_the_binomial_tail_is_the_sum_of_its_terms(of: int, share: float, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, of + 1))
    terms = (math.comb(of, n) * share**n * (1 - share) ** (of - n) for n in range(hits, of + 1))
    assert binomial_at_least(hits, of, share) == pytest.approx(math.fsum(terms), rel=1e-9, abs=1e-300)


@given(of=st.integers(1, 60), data=st.data())
def test_the_hypergeometric_tail_is_the_sum_of_its_terms(of: int, data: st.DataObject) -> None:
    drawn, all_hits = data.draw(st.integers(0, of)), data.draw(st.integers(0, of))
    hits = data.draw(st.integers(0, of + 1))
    ways = sum(math.comb(all_hits, n) * math.comb(of - all_hits, drawn - n) for n in range(hits, min(drawn, all_hits) + 1))
    assert drawn_at_least(hits, drawn, all_hits, of) == pytest.approx(ways / math.comb(of, drawn), rel=1e-9, abs=1e-300)


def test_counts_of_a_day_are_judged_at_once() -> None:
    assert surely_more(2_000_000, 100_000_000, 1_000_000, 100_000_000, 0.005, 1e-9)
    assert not surely_more(1_000_000, 100_000_000, 1_000_000, 100_000_000, 0.0, 1e-9)


@pytest.mark.parametrize(("usual", "served"), [(0.0, 0), (0.002, 50), (0.1, 300)])
def test_a_good_model_fails_no_more_often_than_stated_however_often_one_looks(usual: float, served: int) -> None:
    rng, error, draws, wrong = random.Random(3), 0.02, 1_500, 0
    for _ in range(draws):
        failed_before = sum(rng.random() < usual for _ in range(served))
        failed = 0
        for requests in range(1, 201):
            if rng.random() < usual:
                failed += 1
                if surely_more_early(failed, requests, failed_before, served, 0.01, error, first=5):
                    wrong += 1
                    break
        else:
            wrong += surely_more(failed, 200, failed_before, served, 0.01, error)
    assert wrong / draws <= 2 * error + 3 * math.sqrt(2 * error / draws)
