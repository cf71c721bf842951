"""How raw pixels become what a network sees: decided once from the training images, carried by every manifest."""

from __future__ import annotations

import numpy as np
import torch

from cloud.data.dataset import Dataset, Images
from littoral.manifest import Input

INPUT_NAME = "input"
SCALE = 1.0 / 255.0
_AT_ONCE = 2048  # images; numpy counts in 64-bit copies


def input_of(dataset: Dataset) -> Input:
    """Pixels over 255, then each channel less its mean and over its deviation in the training images (four decimals)."""
    shape = dataset.shape
    x = dataset.train_x
    # Sums over the counts of the 256 values: exact, and a tenth of the time of a float pass.
    values = np.arange(256, dtype=np.float64) / 255.0
    counts = np.zeros((shape[0], 256), np.int64)
    for start in range(0, len(x), _AT_ONCE):
        for c in range(shape[0]):
            counts[c] += np.bincount(x[start : start + _AT_ONCE, c].reshape(-1), minlength=256)
    means = [float(n @ values / n.sum()) for n in counts]
    deviations = [float(np.sqrt(n @ (values - m) ** 2 / n.sum())) for n, m in zip(counts, means, strict=True)]
    return Input(
        INPUT_NAME,
        shape,
        SCALE,
        tuple(round(m, 4) for m in means),
        tuple(max(round(d, 4), 0.0001) for d in deviations),  # a channel of one value has no deviation
    )


def tensor_of(given: Input, x: Images) -> torch.Tensor:
    """(n, C, H, W) float32 with the channels last in memory, which is the faster layout for small convolutions here."""
    return torch.from_numpy(given.prepare(x)).contiguous(memory_format=torch.channels_last)
