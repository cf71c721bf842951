"""The probe of an imported model: its inputs, its answers, and how far another processor may lie from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from littoral.signature import DATATYPES, Packed, TensorProbe
from littoral.tensor_spec import FREE
from littoral_cloud.foreign.opened import ForeignModel
from littoral_cloud.foreign.running import batch_of, feeds_of
from littoral_cloud.foreign.samples import chosen_sizes

Array = npt.NDArray[Any]
INPUT_VALUES, OUTPUT_VALUES = 16_384, 4_096
"""Values of a tensor that a manifest holds."""
MOST_BYTES = 1 << 20
"""Of all inputs of a probe, and of all outputs: a manifest is small, however many tensors it names."""
EXAMPLES = 8
CHANCES = (-1.0, 0.1, 1.0)
"""What floats are drawn from, up to 1, where there are no examples: a logarithm takes none below 0."""
FLOOR = {"onnx": 1e-3, "onnx-int8": 5e-2}
_MARGIN = 8.0


def asked_of_examples(model: ForeignModel, inputs: Mapping[str, Array]) -> dict[str, Packed]:
    """The first examples as one run takes them: at most EXAMPLES, or so few that a manifest can hold them.

    A node feeds what these give back (`Packed.filled`), so the model gets the same here.
    """
    most, batch = _most_values(model), batch_of(model, inputs)
    largest = max(array[0].size for array in inputs.values())
    free = max(1, min(EXAMPLES, len(next(iter(inputs.values()))), most // max(1, largest)))
    count = {0: 1, FREE: free}.get(batch, batch)
    return {name: Packed.repeated(array, most=most) for name, array in feeds_of(model, inputs, 0, count).items()}


def asked_by_chance(model: ForeignModel, sizes: Mapping[str, tuple[int, ...]], least: float = CHANCES[0]) -> dict[str, Packed]:
    """Where there are no examples: floats from `least` to 1, whole numbers 0 and 1.

    Raises BadInput where a size is free and not given.
    """
    chance, made = np.random.default_rng(1), {}
    for spec, shape in zip(model.inputs, chosen_sizes(model.inputs, sizes).values(), strict=True):
        kind = DATATYPES[spec.datatype]
        drawn = chance.uniform(least, 1, shape) if kind.kind == "f" else chance.integers(0, 2, shape)
        made[spec.name] = Packed.repeated(np.asarray(drawn).astype(kind), most=_most_values(model))
    return made


def probe_of(asked: Mapping[str, Packed], answers: Mapping[str, Array], others: Mapping[str, Array], variant: str) -> TensorProbe:
    """With the largest difference between two ways to run it here, times a margin, as what may be tolerated."""
    tolerances = {}
    most = min(OUTPUT_VALUES, MOST_BYTES // sum(array.dtype.itemsize for array in answers.values()))
    for name, wanted in answers.items():
        seen = _difference(others[name], wanted)
        largest = float(np.abs(wanted[np.isfinite(wanted)]).max(initial=0.0)) if wanted.dtype.kind == "f" else 0.0
        least = FLOOR[variant] * largest if wanted.dtype.kind == "f" else 0.02
        tolerances[name] = float(f"{max(_MARGIN * seen, least, 1e-6) * 1.005:.3g}")
    return TensorProbe(asked, {name: Packed.of(array, most=most) for name, array in answers.items()}, tolerances)


def _most_values(model: ForeignModel) -> int:
    return min(INPUT_VALUES, MOST_BYTES // sum(DATATYPES[spec.datatype].itemsize for spec in model.inputs))


def _difference(other: Array, wanted: Array) -> float:
    """The largest difference of floats; of anything else the share that differs."""
    if other.shape != wanted.shape or not wanted.size:
        return 0.0
    if wanted.dtype.kind != "f":
        return float((other != wanted).mean())
    both = np.isfinite(other) & np.isfinite(wanted)
    return float(np.abs(other[both].astype(np.float64) - wanted[both].astype(np.float64)).max(initial=0.0))
