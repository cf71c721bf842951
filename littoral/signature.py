"""What a model from elsewhere takes and gives: tensors by name, of any number type, as many as it has.

Our own networks take one prepared input and give logits (preparation.Input, manifest.Output); one that was imported keeps its own
inputs and outputs, and nodes serve them as they are. Its probe holds a tensor for each.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from littoral.decoder import BadField
from littoral.tensor_spec import FREE, MOST_RANK, NUMPY_KINDS, TensorSpec

Array = npt.NDArray[Any]
MOST_TENSORS = 64
MOST_VALUES = 1 << 26
"""Of one tensor of a probe."""
DATATYPES: Mapping[str, np.dtype[Any]] = {name: np.dtype(kind) for name, kind in NUMPY_KINDS.items()}
"""By the names of the Open Inference Protocol."""
_NAMES = {kind: name for name, kind in DATATYPES.items()}


@dataclass(frozen=True, slots=True)
class Packed:
    """An array in a manifest, whole or a part of its values: a manifest is small, and an input may be an image of megabytes.

    As an input (`repeated`), values are repeated until the shape is full: the model gets `filled()`, not the array
    itself, and packing that again changes nothing. Of an output (`of`), values at evenly spread places are compared.
    """

    datatype: str
    shape: tuple[int, ...]  # of the whole
    data: str  # base64, little endian, C order

    def check_decoded(self) -> None:
        size = math.prod(self.shape) if len(self.shape) <= MOST_RANK and all(part >= 0 for part in self.shape) else -1
        if self.datatype not in DATATYPES or not 0 <= size <= MOST_VALUES:
            raise BadField(
                "shape", f"{self.datatype[:40]} {list(self.shape)!r:.80} is no array of at most {MOST_VALUES:,} values"
            )
        try:
            count = len(self.values())
        except ValueError as error:  # binascii.Error is one
            raise BadField("data", f"is not base64 of {self.datatype}") from error
        if count > size or (count == 0) != (size == 0):
            raise BadField("data", f"holds {count} values for the shape {list(self.shape)}")

    @classmethod
    def of(cls, array: Array, *, most: int | None = None) -> Packed:
        """An output. `most`: values to store; None: all of them."""
        return cls._packed(array, _places(array.size, min(array.size, most or array.size)))

    @classmethod
    def repeated(cls, array: Array, *, most: int) -> Packed:
        """An input. `most`: values to store; they come from all over the array, each where `filled` puts it back."""
        count = min(array.size, most)
        at = np.arange(count, dtype=np.int64)
        return cls._packed(array, at + (_places(array.size, count) - at) // max(1, count) * count)

    @classmethod
    def _packed(cls, array: Array, places: npt.NDArray[np.int64]) -> Packed:
        datatype = datatype_of(array)
        values = np.ascontiguousarray(array, DATATYPES[datatype]).reshape(-1)[places]
        return cls(datatype, tuple(array.shape), base64.b64encode(values.tobytes()).decode())

    def values(self) -> Array:
        """The stored ones. Raises ValueError where `data` is no whole number of values."""
        return np.frombuffer(base64.b64decode(self.data, validate=True), DATATYPES[self.datatype])

    def filled(self) -> Array:
        """An input of this shape."""
        return np.resize(self.values(), self.shape)

    def picked(self, array: Array) -> Array:
        """The values of an output of this shape that are compared with `values`."""
        return array.reshape(-1)[_places(array.size, len(self.values()))]


def _places(size: int, count: int) -> npt.NDArray[np.int64]:
    return np.arange(count, dtype=np.int64) * size // max(1, count)


@dataclass(frozen=True, slots=True)
class TensorProbe:
    """What this very artifact answered to these inputs when it was made.

    `tolerances` by output: of floats the largest absolute difference, of whole numbers and truths the largest share that differs.
    """

    inputs: Mapping[str, Packed]
    outputs: Mapping[str, Packed]
    tolerances: Mapping[str, float]

    def check_decoded(self) -> None:
        for name, value in self.tolerances.items():
            if not value >= 0:
                raise BadField(f"tolerances.{name:.40}", f"{value!r} must be a number that is not negative")


@dataclass(frozen=True, slots=True)
class Signature:
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    probe: TensorProbe

    def check_decoded(self) -> None:
        for side, specs, arrays in (
            ("inputs", self.inputs, self.probe.inputs),
            ("outputs", self.outputs, self.probe.outputs),
        ):
            if not 1 <= len(specs) <= MOST_TENSORS:
                raise BadField(side, f"holds {len(specs)} tensors, it must hold 1 to {MOST_TENSORS}")
            if len({spec.name for spec in specs}) != len(specs):
                raise BadField(side, "two tensors have one name")
            for place, spec in enumerate(specs):
                spec.check(f"{side}[{place}]")
                array = arrays.get(spec.name)
                if array is None or array.datatype != spec.datatype or not spec.fits(array.shape):
                    raise BadField(f"probe.{side}", f"holds no {spec.datatype} {spec.sizes} for {spec.name!r:.40}")
        if set(self.probe.tolerances) != {spec.name for spec in self.outputs}:
            raise BadField("probe.tolerances", "must hold one for each output")

    @property
    def batched(self) -> bool:
        """Whether the first size of every input is a batch that the client chooses."""
        return all(spec.shape[:1] == (FREE,) for spec in self.inputs)


def is_text(words: str) -> bool:
    """Whether UTF-8 can encode it: names from other files may hold halves of characters."""
    return not any("\ud800" <= sign <= "\udfff" for sign in words)


def datatype_of(array: Array) -> str:
    """Raises ValueError where the protocol has no name for it."""
    name = _NAMES.get(array.dtype) or _NAMES.get(array.dtype.newbyteorder("<"))
    if name is None:
        raise ValueError(f"{array.dtype} has no name in the Open Inference Protocol")
    return name
