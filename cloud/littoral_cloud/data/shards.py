"""A fleet's data for demos and tests: shards that are not alike, and a drift. numpy alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def dirichlet_shards(labels: npt.NDArray[Any], nodes: int, alpha: float, rng: np.random.Generator) -> list[npt.NDArray[np.int64]]:
    """Splits examples into shards of one size whose classes are mixed by Dirichlet draws (Hsu et al., arXiv:1909.06335).

    Args:
        labels: (n,) class numbers.
        alpha: small: few classes on each node; large: all nodes alike.

    Returns:
        Indices into `labels` for each node, shuffled; every example is in exactly one shard, sizes differ by one at most.
    """
    classes = np.unique(labels)
    pools = [list(rng.permutation(np.flatnonzero(labels == label))) for label in classes]
    shards = []
    for node in range(nodes):
        wanted = len(labels) // nodes + (node < len(labels) % nodes)
        mix = rng.dirichlet([alpha] * len(classes))
        taken: list[int] = []
        while len(taken) < wanted:
            left = np.array([len(pool) for pool in pools])
            shares = np.where(left > 0, mix, 0.0)
            if shares.sum() <= 0:  # the classes of this node are used up: it takes from all that are left
                shares = left.astype(np.float64)
            counts = np.minimum(rng.multinomial(wanted - len(taken), shares / shares.sum()), left)
            for pool, count in zip(pools, counts, strict=True):
                taken += [pool.pop() for _ in range(count)]
        shards.append(rng.permutation(np.array(taken, np.int64)))
    return shards


def rotate(images: npt.NDArray[np.uint8], degrees: float) -> npt.NDArray[np.uint8]:
    """Turns images counter-clockwise around their middle, bilinear, black outside.

    Args:
        images: (..., H, W) uint8.
    """
    height, width = images.shape[-2:]
    angle = np.deg2rad(degrees)
    middle_y, middle_x = (height - 1) / 2, (width - 1) / 2
    ys, xs = np.mgrid[0:height, 0:width]
    dy, dx = ys - middle_y, xs - middle_x
    # Where each pixel of the result comes from. Rows grow downwards, so counter-clockwise to the eye is this sign.
    from_x = np.cos(angle) * dx - np.sin(angle) * dy + middle_x
    from_y = np.sin(angle) * dx + np.cos(angle) * dy + middle_y
    x0, y0 = np.floor(from_x).astype(int), np.floor(from_y).astype(int)
    result = np.zeros(images.shape, np.float32)
    for step_y in (0, 1):
        for step_x in (0, 1):
            x, y = x0 + step_x, y0 + step_y
            weight = (1 - np.abs(from_x - x)) * (1 - np.abs(from_y - y))
            weight = np.where((x >= 0) & (x < width) & (y >= 0) & (y < height), weight, 0).astype(np.float32)
            result += images[..., np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)] * weight
    return np.clip(np.rint(result), 0, 255).astype(np.uint8)
