"""What a client of a model relies on, and what would break it: names, types and shapes of tensors, labels and their order.

`breaks` says whether a client that was written for one artifact is understood by another. Taking more is no break: a free size in
the place of a fixed one, images of any size in the place of one size. Asking for more is, and so is answering otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from littoral.tensor_spec import FREE, TensorSpec

if TYPE_CHECKING:
    from littoral.manifest import Manifest

ANY_NUMBER = "any number"
"""Datatype of an input of our own models: every number type is prepared as the manifest says."""


@dataclass(frozen=True, slots=True)
class Interface:
    """`resized`: images of any size and colour are taken for the one input. `labels`: of the classes, in order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    labels: tuple[str, ...]
    resized: bool = False


def interface_of(manifest: Manifest) -> Interface:
    if manifest.signature is not None:
        return Interface(manifest.signature.inputs, manifest.signature.outputs, manifest.output.labels)
    given, labels = manifest.input, manifest.output.labels
    return Interface(
        (TensorSpec(given.name, ANY_NUMBER, (FREE, *given.shape)),),
        (TensorSpec(manifest.output.name, "FP32", (FREE, len(labels))),),
        labels,
        resized=given.resize is not None,
    )


def breaks(before: Interface | None, after: Interface | None) -> tuple[str, ...]:
    """Why a client of `before` is not understood by `after`, a clause each; empty: it is. None: not known, nothing breaks."""
    if before is None or after is None:
        return ()
    changes = [*_inputs(before, after), *_outputs(before.outputs, after.outputs)]
    if before.labels != after.labels:
        changes.append(f"labels {_listed(before.labels)} become {_listed(after.labels)}")
    return tuple(changes)


def _inputs(before: Interface, after: Interface) -> list[str]:
    changes = []
    had = {spec.name: spec for spec in before.inputs}
    for spec in after.inputs:
        if (old := had.pop(spec.name, None)) is None:
            changes.append(f"wants an input {spec.name!r}")
            continue
        if spec.datatype not in (ANY_NUMBER, old.datatype):
            changes.append(f"input {spec.name!r} becomes {spec.datatype}, is {old.datatype}")
        if not after.resized and (before.resized or not _covers(spec.shape, old.shape)):
            was = f"images of any size, like {old.sizes}" if before.resized else old.sizes
            changes.append(f"input {spec.name!r} becomes {spec.sizes}, is {was}")
    return changes + [f"has no input {name!r}" for name in had]


def _outputs(before: Sequence[TensorSpec], after: Sequence[TensorSpec]) -> list[str]:
    changes = []
    gives = {spec.name: spec for spec in after}
    for old in before:
        if (spec := gives.get(old.name)) is None:
            changes.append(f"has no output {old.name!r}")
        elif spec.datatype != old.datatype or not _covers(old.shape, spec.shape):
            changes.append(f"output {old.name!r} becomes {spec.datatype} {spec.sizes}, is {old.datatype} {old.sizes}")
    return changes


def _covers(wide: tuple[int, ...], narrow: tuple[int, ...]) -> bool:
    """Whether every shape that fits `narrow` fits `wide`."""
    return len(wide) == len(narrow) and all(w in (FREE, n) for w, n in zip(wide, narrow, strict=True))


def _listed(labels: tuple[str, ...]) -> str:
    shown = ", ".join(label[:20] for label in labels[:6])
    return f"[{shown}{f', ... {len(labels)} in all' if len(labels) > 6 else ''}]"
