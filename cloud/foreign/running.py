"""A foreign model over many examples: in batches where it takes them, filled up where its batch is fixed, one by one else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from cloud.foreign.opened import ForeignModel
from littoral.errors import BadInput
from littoral.signature import FREE

Array = npt.NDArray[Any]
BATCH = 32


def answers_of(model: ForeignModel, graph: str, inputs: Mapping[str, Array]) -> dict[str, Any]:
    """Every output by name: an array, examples first, or a list of arrays where it gives another number of things for each.

    Args:
        graph: of those that are loaded.
        inputs: as samples.py gives them.
    """
    count, batch = len(next(iter(inputs.values()))), batch_of(model, inputs)
    if batch == 0:
        return _together([model.run({name: array[i] for name, array in inputs.items()}, name=graph) for i in range(count)])

    def run(start: int, end: int) -> tuple[Mapping[str, Array], int]:
        feeds = {name: filled_up(array[start:end], batch) for name, array in inputs.items()}
        return model.run(feeds, name=graph), len(next(iter(feeds.values())))

    size = batch if batch != FREE else BATCH
    if not all(_one_each(*run(0, tried)) for tried in {1, min(3, count, size)}):
        if batch not in (FREE, 1):
            raise BadInput(f"model: takes {batch} examples at once and does not answer each", hint="export it with a batch of 1")
        return _together([run(i, i + 1)[0] for i in range(count)])
    rows: list[Mapping[str, Array]] = []
    for start in range(0, count, size):
        end = min(count, start + size)
        found, given = run(start, end)
        if not _one_each(found, given):
            raise BadInput(f"model: answers {given} examples with another number of answers")
        rows += [{name: array[i] for name, array in found.items()} for i in range(end - start)]
    return _together(rows)


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


def _one_each(found: Mapping[str, Array], count: int) -> bool:
    """Whether every output has one answer for each of so many examples."""
    return all(array.ndim > 0 and len(array) == count for array in found.values())


def _together(rows: list[Mapping[str, Array]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name in rows[0]:
        arrays = [row[name] for row in rows]
        made[name] = np.stack(arrays) if len({array.shape for array in arrays}) == 1 else arrays
    return made
