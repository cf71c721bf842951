"""Multinomial logistic regression, solved: the baseline beside every table of students (baseline.py), and the `linear` student.

Minimises the cross-entropy's sum over all examples + penalty / 2 * |W|^2, W of features brought to mean 0 and deviation 1, by
L-BFGS: D. C. Liu, J. Nocedal, On the limited memory BFGS method for large scale optimization, Mathematical Programming 45, 1989,
https://doi.org/10.1007/BF01589116 (algorithm 2.1), with steps halved until they are good (Armijo). The problem is convex, so
where it begins decides nothing; in float64, and without chance.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from littoral_cloud.data.labels import Labels

Values = npt.NDArray[np.float64]
PENALTY = 1.0
"""The default of scikit-learn's LogisticRegression (its C is 1 / penalty)."""

_MOST_STEPS = 200
_MEMORY = 10
_FLAT = 1e-5
"""The solution is found once no slope of the mean loss is steeper than this."""


def logistic(
    x: npt.NDArray[np.floating], y: Labels, classes: int, *, penalty: float = PENALTY, steps: int = _MOST_STEPS
) -> tuple[Values, Values]:
    """Weights (classes, features) and biases (classes,) for inputs as they are given.

    Args:
        x: (n, features), finite.
        y: (n,), whole numbers from 0 to classes - 1.
        steps: the most to take.
    """
    # Of two classes only the difference of their weights counts, so the penalty is on the difference.
    penalty = 2 * penalty if classes == 2 else penalty
    mean, deviation = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
    deviation[deviation <= np.maximum(np.abs(mean), 1.0) * 1e-7] = np.inf  # one value in all examples: it has no weight
    z = (x - mean) / deviation
    right = np.zeros((len(y), classes))
    right[np.arange(len(y)), y] = 1.0

    def slope_at(at: Values) -> tuple[float, Values]:
        weights, biases = at[:-1], at[-1]
        logits = z @ weights + biases
        logits -= logits.max(axis=1, keepdims=True)
        shares = np.exp(logits)
        total = shares.sum(axis=1, keepdims=True)
        loss = float((np.log(total) - (logits * right).sum(axis=1, keepdims=True)).sum()) + penalty / 2 * float(
            (weights**2).sum()
        )
        error = shares / total - right
        return loss / len(y), np.vstack([z.T @ error + penalty * weights, error.sum(axis=0)]) / len(y)

    found = _minimum(slope_at, np.zeros((x.shape[1] + 1, classes)), steps)
    weights = (found[:-1] / deviation[:, None]).T
    return weights, found[-1] - weights @ mean


def _minimum(slope_at: Callable[[Values], tuple[float, Values]], at: Values, steps: int) -> Values:
    loss, slope = slope_at(at)
    pairs: list[tuple[Values, Values, float]] = []
    for _ in range(steps):
        if np.abs(slope).max() <= _FLAT:
            break
        way = _way(slope, pairs)
        fall, stride = float((way * slope).sum()), 1.0
        if not pairs:
            stride = min(1.0, 1.0 / float(np.abs(slope).sum()))
        while True:
            there = at + stride * way
            new_loss, new_slope = slope_at(there)
            if new_loss <= loss + 1e-4 * stride * fall:
                break
            stride /= 2
            if stride < 1e-12:  # as low as float64 tells apart
                return at
        moved, turned = there - at, new_slope - slope
        if (curve := float((moved * turned).sum())) > 1e-12 * float((turned**2).sum()):
            pairs = [*pairs[1 - _MEMORY :], (moved, turned, 1.0 / curve)]
        at, loss, slope = there, new_loss, new_slope
    return at


def _way(slope: Values, pairs: list[tuple[Values, Values, float]]) -> Values:
    """Down, as the last pairs of steps and slopes bend it."""
    way, shares = -slope, []
    for moved, turned, scale in reversed(pairs):
        share = scale * float((moved * way).sum())
        shares.append(share)
        way = way - share * turned
    if pairs:
        moved, turned, scale = pairs[-1]
        way = way / (scale * float((turned**2).sum()))
    for (moved, turned, scale), share in zip(pairs, reversed(shares), strict=True):
        way = way + (share - scale * float((turned * way).sum())) * moved
    return way
