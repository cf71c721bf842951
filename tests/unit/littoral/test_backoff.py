"""Exponential backoff with full jitter."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from littoral.backoff import Backoff


def test_the_bound_doubles_up_to_the_longest() -> None:
    assert [Backoff(0.5, 30.0).bound_s(n) for n in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]


@given(st.integers(0, 10_000), st.integers())
def test_a_pause_is_jittered_and_bounded(attempt: int, seed: int) -> None:
    assert 0 <= Backoff(0.5, 30.0).pause_s(attempt, random.Random(seed)) <= 30.0


@given(st.integers())
def test_many_that_failed_together_come_back_spread_over_the_least_bound(seed: int) -> None:
    rng = random.Random(seed)
    pauses = [Backoff(0.5, 30.0).pause_s(0, rng, least_bound_s=100.0) for _ in range(64)]
    assert 50.0 < max(pauses) <= 100.0
