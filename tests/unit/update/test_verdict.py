"""When a probation fails: littoral_node.update.verdict."""

from __future__ import annotations

import math

import pytest

from littoral_node.update.events import Findings
from littoral_node.update.state import ProbationPolicy
from littoral_node.update.verdict import CHANCE, too_often, worse_on_examples

POLICY = ProbationPolicy(max_accuracy_drop=0.05, max_failure_rate=0.01)


@pytest.mark.parametrize(
    ("failed", "requests", "usual", "fails"),
    [
        (0, 0, 0.0, False),
        (2, 109, 0.003, False),  # chance: a node in twenty sees as many of a model that is as good as before
        (9, 109, 0.003, True),
        (1, 1, 0.0, False),
        (2, 2, 0.0, True),
        (60, 1_000, 0.0, True),
        (60, 1_000, 0.05, False),  # as many failed before
        (1_000, 1_000, 1.0, False),
        (100, 100, 0.0, True),
    ],
)
def test_failures_that_chance_explains_fail_no_model(failed: int, requests: int, usual: float, fails: bool) -> None:
    findings = Findings(requests=requests, failed_requests=failed)
    assert (too_often(findings, POLICY, usual, final=True) is not None) is fails


def test_before_the_end_only_several_failures_count() -> None:
    few, several = Findings(requests=4, failed_requests=4), Findings(requests=5, failed_requests=5)
    assert too_often(few, POLICY, 0.0, final=False) is None
    assert too_often(several, POLICY, 0.0, final=False) is not None
    assert too_often(few, POLICY, 0.0, final=True) is not None


def test_where_no_failure_is_allowed_one_is_too_many() -> None:
    strict = ProbationPolicy(max_failure_rate=0.0)
    assert too_often(Findings(requests=1_000, failed_requests=1), strict, 0.0, final=True) is not None


def test_refused_requests_are_judged_alike() -> None:
    wrong = too_often(Findings(requests=10, turned_away=10), POLICY, 0.0, final=True)
    assert wrong is not None
    assert wrong[0] == "refuses-requests"
    assert too_often(Findings(requests=100, turned_away=1), POLICY, 0.0, final=True) is None


@pytest.mark.parametrize("requests", [20, 110, 1_000])
def test_a_model_just_inside_the_limit_fails_no_more_often_than_stated(requests: int) -> None:
    share = POLICY.max_failure_rate

    def fails(failed: int) -> bool:
        return too_often(Findings(requests=requests, failed_requests=failed), POLICY, 0.0, final=True) is not None

    bad = [failed for failed in range(requests + 1) if fails(failed)]
    likely = sum(math.comb(requests, n) * share**n * (1 - share) ** (requests - n) for n in bad)
    assert 0 < likely <= CHANCE


def test_a_fall_of_accuracy_needs_both_models() -> None:
    assert worse_on_examples(Findings(accuracy=0.5, examples=10), POLICY) is None
    assert worse_on_examples(Findings(accuracy=0.90, previous_accuracy=0.96, examples=100), POLICY) is not None
    assert worse_on_examples(Findings(accuracy=0.92, previous_accuracy=0.96, examples=100), POLICY) is None
