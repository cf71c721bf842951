"""Data of the nodes that `flwr run` simulates: each one every n-th image of MNIST. Real nodes read
littoral_node/federation/labelled.py's."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np

from littoral.errors import BadData
from littoral_node.federation.labelled import Images, Labels

EXAMPLES_PER_NODE = 1_500


def mnist_partition(folder: Path, index: int, of: int) -> tuple[Images, Labels]:
    """Images `index`, `index + of`, ... of the training set, at most EXAMPLES_PER_NODE: (n, 1, 28, 28) uint8 and (n,)."""
    pixels = _idx(folder / "train-images-idx3-ubyte.gz", dimensions=3)
    labels = _idx(folder / "train-labels-idx1-ubyte.gz", dimensions=1)
    return pixels[index::of][:EXAMPLES_PER_NODE, None], labels[index::of][:EXAMPLES_PER_NODE].astype(np.int64)


def _idx(path: Path, dimensions: int) -> Images:
    try:
        raw = gzip.decompress(path.read_bytes())
        shape = struct.unpack_from(f">{dimensions}I", raw, 4)
        return np.frombuffer(raw, np.uint8, offset=4 + 4 * dimensions).reshape(shape)
    except (OSError, EOFError, ValueError, struct.error) as error:
        raise BadData(f"{path}: is not MNIST: {error}", hint="name its folder: --run-config 'data=\"DIR\"'") from error
