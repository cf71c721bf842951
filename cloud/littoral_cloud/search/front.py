"""Compares candidates by several objectives: pure functions on points, of which less is better in every place.

Non-dominated sorting and crowding distance: K. Deb et al.: A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II, 2002,
https://doi.org/10.1109/4235.996017. Successive halving: K. Jamieson, A. Talwalkar, 2016, https://arxiv.org/abs/1502.07943; here
over several objectives at once: the half stays that the fewest fronts dominate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Point = Sequence[float]
"""One candidate's costs; less is better in every place."""


def dominates(a: Point, b: Point) -> bool:
    """Whether `a` is nowhere worse than `b`, and somewhere better."""
    return all(x <= y for x, y in zip(a, b, strict=True)) and any(x < y for x, y in zip(a, b, strict=True))


def non_dominated(points: Sequence[Point]) -> list[int]:
    """Indices of the points that no other point dominates, in their order; all of equal points."""
    return [i for i, p in enumerate(points) if not any(dominates(q, p) for q in points)]


def ranked(points: Sequence[Point]) -> list[int]:
    """All indices, the best first: by the number of fronts before it, then by crowding distance, then by index."""
    left = list(range(len(points)))
    order: list[int] = []
    while left:
        front = [left[i] for i in non_dominated([points[i] for i in left])]
        alone = _crowding([points[i] for i in front])
        order += [i for _, i in sorted(zip((-a for a in alone), front, strict=True))]
        left = [i for i in left if i not in front]
    return order


def better_half(points: Sequence[Point]) -> list[int]:
    """Indices of the half (rounded up) that goes on to the next rung, in their order."""
    return sorted(ranked(points)[: -(-len(points) // 2)])


def _crowding(points: Sequence[Point]) -> list[float]:
    """Crowding distance: from one neighbour of a point to the other, summed over the objectives; infinite at the ends."""
    alone = [0.0] * len(points)
    for k in range(len(points[0]) if points else 0):
        order = sorted(range(len(points)), key=lambda i: (points[i][k], i))
        width = points[order[-1]][k] - points[order[0]][k]
        alone[order[0]] = alone[order[-1]] = math.inf
        for before, here, after in zip(order, order[1:], order[2:], strict=False):
            if width > 0:
                alone[here] += (points[after][k] - points[before][k]) / width
    return alone
