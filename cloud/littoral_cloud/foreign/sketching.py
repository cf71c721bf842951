"""The sketch of an imported model's inputs, against which nodes see drift."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from littoral.errors import BadInput
from littoral.manifest import SketchSpec
from littoral.sketch import fit
from littoral.tensor_spec import FREE, TensorSpec
from littoral_cloud.foreign.samples import ImportData

SEED, EXAMPLES, VALUES, FEWEST = 1, 4096, 1 << 20, 10


def sketch_of(given: ImportData | None, inputs: Sequence[TensorSpec]) -> SketchSpec:
    """Of a model with one input of one size; an empty one for all others: drift is not seen there."""
    nothing = SketchSpec(SEED, ())
    first, *more = inputs
    if given is None or more or first.shape[:1] != (FREE,) or FREE in first.shape[1:]:
        return nothing
    raw = np.concatenate([given.calibrating.inputs[first.name], given.measuring.inputs[first.name]])[:EXAMPLES]
    if len(raw) < FEWEST or raw[0].size > VALUES:
        return nothing
    try:
        return fit(raw, seed=SEED)
    except BadInput:  # values whose squares no float holds, or none at all
        return nothing
