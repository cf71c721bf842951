"""How raw values become what a network sees: decided once from the training examples, carried by every manifest."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from littoral.preparation import Input
from littoral_cloud.data.dataset import Dataset, Inputs

INPUT_NAME = "input"
SCALE = 1.0 / 255.0
MUTED = 1e30
"""The deviation that travels for a feature or channel that had one value in training. A network never learnt what another value
means: every value that a node sees there counts as 0."""
_LISTED = 8
_AT_ONCE = 2048  # images; numpy counts in 64-bit copies


def input_of(dataset: Dataset) -> Input:
    """Pixels over 255, then each channel less its mean and over its deviation in the training images (four decimals). Features of
    a table and channels of series: the same without the 255, to the digits of float32."""
    if dataset.kind != "images":
        return _of_measured(dataset)
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
        dataset.resize,
    )


def constant_features(dataset: Dataset) -> list[int]:
    """Features of a table, or channels of series, that have one value in all training examples."""
    if dataset.kind == "images":
        return []
    over = (0, *range(2, dataset.train_x.ndim))
    return [int(i) for i in np.flatnonzero(dataset.train_x.min(axis=over) == dataset.train_x.max(axis=over))]


def noted(dataset: Dataset) -> list[str]:
    """What a user who trains on it should know, one sentence each; without its name, for manifests carry them too."""
    constant = constant_features(dataset)
    if not constant:
        return [*dataset.notes]
    what = "column" if dataset.kind == "table" else "channel"
    listed = ", ".join(map(str, constant[:_LISTED])) + (f" and {len(constant) - _LISTED} more" if len(constant) > _LISTED else "")
    many = f"{what}s {listed} have" if len(constant) > 1 else f"{what} {listed} has"
    return [*dataset.notes, f"{many} one value in training, and {'are' if len(constant) > 1 else 'is'} muted"]


def _of_measured(dataset: Dataset) -> Input:
    over = (0, *range(2, dataset.train_x.ndim))
    means = dataset.train_x.mean(axis=over, dtype=np.float64)
    deviations = dataset.train_x.std(axis=over, dtype=np.float64)
    # Below float32's own steps around the mean, what seems a deviation is rounding.
    least = np.maximum(np.abs(means) * np.finfo(np.float32).eps, np.finfo(np.float32).tiny)
    deviations[deviations <= least] = MUTED
    deviations[constant_features(dataset)] = MUTED
    return Input(INPUT_NAME, dataset.shape, 1.0, _as_float32(means), _as_float32(deviations))


def _as_float32(values: npt.NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(np.float32(value)) for value in values)


def tensor_of(given: Input, x: Inputs) -> torch.Tensor:
    """(n, *shape) float32; of images with the channels last in memory, which is the faster layout for small convolutions here."""
    # Copied to where torch allocates: numpy's memory begins at any 16 bytes, and a kernel may add up by where it begins.
    prepared = torch.from_numpy(given.prepare(x)).clone()
    return prepared.contiguous(memory_format=torch.channels_last) if given.images else prepared
