"""Small labelled images that can be told apart in seconds, without a file."""

from __future__ import annotations

import numpy as np

from littoral_cloud.data.dataset import Dataset, assemble


def bars(count: int = 240, *, channels: int = 1, size: int = 12, seed: int = 0) -> Dataset:
    """Three classes: a bright bar that lies, stands, or is not there; noise over all of it."""
    rng = np.random.default_rng(seed)
    y = np.arange(count) % 3
    x = rng.integers(0, 60, (count, channels, size, size))
    place = rng.integers(2, size - 4, count)
    for image, label, at in zip(x, y, place, strict=True):
        if label == 0:
            image[:, at : at + 2, :] += 180
        elif label == 1:
            image[:, :, at : at + 2] += 180
    x = x.astype(np.uint8)
    fifth = count * 4 // 5
    return assemble("bars", x[:fifth], y[:fifth], x[fifth:], y[fifth:], labels=("lying", "standing", "none"))
