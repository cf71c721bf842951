"""A tiny table and tiny series that can be learnt in a second."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from littoral_cloud.data.dataset import Dataset, assemble

FEATURES = 5


def rows(count: int = 360, seed: int = 0) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """(n, FEATURES) and (n,): three classes, told apart by a column in thousands and one in thousandths; column 4 is constant."""
    rng = np.random.default_rng(seed)
    y = np.arange(count) % 3
    x = rng.normal(size=(count, FEATURES)) * [1, 10, 300, 3e-4, 0] + [0, 5, 1e4, 0, 2.5]
    x[:, 2] += 2000 * (y == 1)
    x[:, 3] += 2e-3 * (y == 2)
    return x, y


def table(count: int = 360) -> Dataset:
    x, y = rows(count)
    held = count * 2 // 3
    return assemble("readings", x[:held], y[:held], x[held:], y[held:], labels=("idle", "hot", "loose"))


def series(count: int = 240, channels: int = 2, steps: int = 40) -> Dataset:
    """Three classes: how fast the first channel swings."""
    rng = np.random.default_rng(1)
    y = np.arange(count) % 3
    x = rng.normal(size=(count, channels, steps)).astype(np.float32) * 0.4
    x[:, 0] += 3 * np.sin(np.arange(steps) * (0.2 + 0.4 * y[:, None]) + rng.uniform(0, 6, (count, 1)))
    held = count * 2 // 3
    return assemble("swings", x[:held], y[:held], x[held:], y[held:], labels=("slow", "middling", "fast"))
