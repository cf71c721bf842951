"""A foreign model over many examples: in batches where it takes them, filled up where its batch is fixed, one by one else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from littoral.errors import BadInput
from littoral.tensor_spec import FREE
from littoral_cloud.foreign.opened import ForeignModel

Array = npt.NDArray[Any]
BATCH = 32


def answers_of(model: ForeignModel, graph: str, inputs: Mapping[str, Array]) -> dict[str, Any]:
    """Every output by name: an array, examples first, or a list of arrays where it gives another number of things for each.

    Args:
        graph: of those that are loaded.
        inputs: as samples.py gives them.
    """
    count, batch = len(next(iter(inputs.values()))), batch_of(model, inputs)
    size = {0: 1, FREE: BATCH}.get(batch, batch)

    def run(start: int, end: int) -> Mapping[str, Array]:
        return model.run(feeds_of(model, inputs, start, end), name=graph)

    tries = [(run(0, tried), max(tried, batch)) for tried in {1, min(3, count, size)}]
    each = {spec.name for spec in model.outputs if all(_one_each(found[spec.name], asked) for found, asked in tries)}
    if batch == 0 or len(each) < len(model.outputs):
        if batch not in (0, FREE, 1):
            raise BadInput(f"model: takes {batch} examples at once and does not answer each", hint="export it with a batch of 1")
        rows = [run(i, i + 1) for i in range(count)]
        if any(inputs[spec.name].ndim == len(spec.shape) for spec in model.inputs):  # a first size may be the example's
            each = {name for name in each if all(_one_each(row[name], 1) for row in rows)}
            rows = [{name: array[0] if name in each else array for name, array in row.items()} for row in rows]
        return _together(rows)
    rows = []
    for start in range(0, count, size):
        end = min(count, start + size)
        found, asked = run(start, end), max(end - start, batch)
        if not all(_one_each(array, asked) for array in found.values()):
            raise BadInput(f"model: answers {asked} examples with another number of answers")
        rows += [{name: array[i] for name, array in found.items()} for i in range(end - start)]
    return _together(rows)


def feeds_of(model: ForeignModel, inputs: Mapping[str, Array], start: int, end: int) -> dict[str, Array]:
    """These examples as one run takes them, filled up where a batch is fixed; of an input without a batch the first of them."""
    arrays = {spec: inputs[spec.name] for spec in model.inputs}
    return {
        spec.name: filled_up(array[start:end], spec.shape[0]) if array.ndim == len(spec.shape) else array[start]
        for spec, array in arrays.items()
    }


def batch_of(model: ForeignModel, inputs: Mapping[str, Array]) -> int:
    """How many examples one run takes: FREE, a number, or 0 where an input has no place for a batch."""
    if any(inputs[spec.name].ndim != len(spec.shape) for spec in model.inputs):
        return 0
    sizes = {spec.shape[0] for spec in model.inputs} - {FREE}
    if len(sizes) > 1:
        raise BadInput(f"model: its inputs take {sorted(sizes)} examples at once", hint="give each example the whole input")
    return sizes.pop() if sizes else FREE


def filled_up(part: Array, batch: int) -> Array:
    """The last one repeated; what is answered to those is dropped."""
    if batch == FREE or len(part) >= batch:
        return part
    return np.concatenate([part, np.repeat(part[-1:], batch - len(part), axis=0)])


def _one_each(array: Array, count: int) -> bool:
    """Whether it has one answer for each of `count` examples."""
    return array.ndim > 0 and len(array) == count


def _together(rows: list[Mapping[str, Array]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name in rows[0]:
        arrays = [row[name] for row in rows]
        made[name] = np.stack(arrays) if len({array.shape for array in arrays}) == 1 else arrays
    return made
