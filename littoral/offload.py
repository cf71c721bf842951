"""What both sides of offload agree on."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

MOST_EXAMPLES = 64
"""In one question."""


def softmax(logits: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """(n, classes) to probabilities."""
    exp = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    found: npt.NDArray[np.float64] = exp / exp.sum(axis=1, keepdims=True)
    return found
