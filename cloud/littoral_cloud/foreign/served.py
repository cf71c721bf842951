"""Which tensors of a model from elsewhere nodes can serve, and as what."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace

from littoral.errors import BadInput
from littoral.signature import DATATYPES, MOST_TENSORS
from littoral.tensor_spec import FREE, MOST_RANK, TensorSpec
from littoral_cloud.foreign.opened import ForeignModel


def served(model: ForeignModel, wanted: str, tell: Callable[[str], None]) -> ForeignModel:
    """The model without the outputs that nodes cannot serve, where it has another. Raises BadInput where an input is of such a
    kind, or every output is, or the one that is judged."""
    for mapped, chances in model.opened_maps:
        tell(f"output {mapped} is a map, which nodes do not serve: {chances}, which it is made of, is served in its place")
    for spec in model.inputs:
        if why := _refused(spec):
            raise BadInput(f"model: input {spec.name} {why}", hint=f"one of {', '.join(DATATYPES)}")
    servable = tuple(spec for spec in model.outputs if not _refused(spec))
    dropped = [spec for spec in model.outputs if spec not in servable]
    for spec in dropped:
        if not servable or spec.name == wanted:
            others = ", ".join(spec.name for spec in servable)
            raise BadInput(
                f"model: output {spec.name} {_refused(spec)}",
                hint=f"name another with --output: {others}" if others else f"one of {', '.join(DATATYPES)}",
            )
        tell(f"output {spec.name} {_refused(spec)}: it is left out")
    for side, specs in (("input", model.inputs), ("output", servable)):
        if not 1 <= len(specs) <= MOST_TENSORS:
            raise BadInput(f"model: {model.path} has {len(specs)} {side}s", hint=f"1 to {MOST_TENSORS} are served")
    return replace(model, outputs=servable)


def _refused(spec: TensorSpec) -> str:
    """Why nodes do not serve such a tensor; "" where they do."""
    if spec.datatype not in DATATYPES:
        return f"is {spec.datatype}, which nodes do not serve"
    return f"has {len(spec.shape)} dimensions, at most {MOST_RANK} are served" if len(spec.shape) > MOST_RANK else ""


def with_ranks(specs: Iterable[TensorSpec], unshaped: Collection[str], ranks: Mapping[str, int]) -> tuple[TensorSpec, ...]:
    """Where the file says nothing of a tensor's shape, as many free sizes as are found. Raises BadInput where nothing was."""
    made = []
    for spec in specs:
        if spec.name in unshaped and spec.name not in ranks:
            raise BadInput(f"model: input {spec.name} has no shape in the file", hint=f"give --data, or --size {spec.name}=1,...")
        made.append(replace(spec, shape=(FREE,) * ranks[spec.name]) if spec.name in unshaped else spec)
    return tuple(made)
