"""Dominance, halving and hypervolume, by their properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.search.hypervolume import hypervolume
from littoral_cloud.search.front import better_half, dominates, non_dominated, ranked

POINTS = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.tuples(*[st.integers(0, 6).map(float)] * width), min_size=1, max_size=14)
)


@given(POINTS)
def test_nobody_outside_the_front_is_better_than_anybody_in_it(points: list[tuple[float, ...]]) -> None:
    inside = set(non_dominated(points))
    assert inside
    for i, p in enumerate(points):
        beaten = any(dominates(q, p) for q in points)
        assert (i in inside) is not beaten


@given(POINTS)
def test_whoever_is_dominated_stands_behind_whoever_dominates_it(points: list[tuple[float, ...]]) -> None:
    order = ranked(points)
    assert sorted(order) == list(range(len(points)))
    place = {i: rank for rank, i in enumerate(order)}
    for i, p in enumerate(points):
        for j, q in enumerate(points):
            if dominates(p, q):
                assert place[i] < place[j]


@given(POINTS)
def test_the_better_half_is_half_and_nobody_outside_dominates_anybody_inside(points: list[tuple[float, ...]]) -> None:
    kept = better_half(points)
    assert len(kept) == -(-len(points) // 2)
    assert kept == sorted(kept)
    for i in kept:
        assert not any(dominates(points[j], points[i]) for j in range(len(points)) if j not in kept)


@given(POINTS, st.randoms(use_true_random=False))
def test_the_front_that_is_left_does_not_depend_on_who_came_first(points: list[tuple[float, ...]], rng: object) -> None:
    shuffled = list(points)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    assert {points[i] for i in non_dominated(points)} == {shuffled[i] for i in non_dominated(shuffled)}


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(*[st.integers(0, 5).map(float)] * 3), min_size=1, max_size=8))
def test_the_hypervolume_is_the_share_of_cells_below_a_point(points: list[tuple[float, ...]]) -> None:
    reference = (5.0, 5.0, 5.0)
    cells = np.stack(np.meshgrid(*[np.arange(5)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    covered = sum(any(all(c >= x for c, x in zip(cell, p, strict=True)) for p in points) for cell in cells)
    assert hypervolume(points, reference) == pytest.approx(covered)


def test_a_point_behind_the_reference_adds_nothing() -> None:
    assert hypervolume([(1.0, 9.0)], (5.0, 5.0)) == 0.0
    assert hypervolume([(1.0, 9.0), (1.0, 1.0)], (5.0, 5.0)) == 16.0
