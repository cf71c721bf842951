"""The probe of a network of ours: inputs and answers in its manifest, by which a node knows that it computes the same."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from littoral.decoder import BadField


@dataclass(frozen=True, slots=True)
class Probe:
    """A few raw inputs and what this very artifact answered when it was made; a node that answers otherwise does not serve it."""

    inputs: str  # base64 of uint8 or float32, C order, (n, *input.shape)
    dtype: str  # "uint8" or "float32"
    count: int
    logits: str  # base64 of float32, C order, (count, classes)
    tolerance: float  # largest absolute difference of a logit

    @classmethod
    def of(cls, inputs: npt.NDArray[Any], logits: npt.NDArray[np.float32], tolerance: float) -> Probe:
        raw = inputs if inputs.dtype == np.uint8 else inputs.astype(np.float32)
        return cls(
            base64.b64encode(np.ascontiguousarray(raw).tobytes()).decode(),
            str(raw.dtype),
            len(raw),
            base64.b64encode(np.ascontiguousarray(logits, dtype=np.float32).tobytes()).decode(),
            tolerance,
        )

    def input_array(self, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        return np.frombuffer(base64.b64decode(self.inputs), dtype=self.dtype).reshape(self.count, *shape)

    def logit_array(self) -> npt.NDArray[np.float32]:
        return np.frombuffer(base64.b64decode(self.logits), dtype=np.float32).reshape(self.count, -1)

    def check_against(self, shape: tuple[int, ...], classes: int) -> None:
        """Raises BadField where it does not hold `count` inputs of this shape and their logits."""
        if self.dtype not in ("uint8", "float32") or self.count < 1 or self.tolerance < 0:
            raise BadField("probe", "dtype must be uint8 or float32, count at least 1, tolerance not negative")
        try:
            sound = self.input_array(shape).size > 0 and self.logit_array().shape == (self.count, classes)
        except ValueError:
            sound = False
        if not sound:
            raise BadField("probe", "inputs or logits do not have the shape that input, output and count give")


NO_PROBE = Probe("", "uint8", 0, "", 0.0)
"""Of a manifest with a signature, which has a probe of its own."""
