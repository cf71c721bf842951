"""What a tensor of a model is, without its values: name, number type, shape. Here, so that nothing that only describes a model
imports numpy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from littoral.decoder import BadField

FREE = -1
"""A size that a client chooses; where it comes first, the batch."""
MOST_RANK = 16
NUMPY_KINDS: Mapping[str, str] = {
    "BOOL": "?",
    "UINT8": "u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
"""Each datatype of the Open Inference Protocol that we know, as numpy writes it."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    name: str
    datatype: str  # of NUMPY_KINDS
    shape: tuple[int, ...]  # the whole, the batch too where it has one; FREE where any size is taken

    def check(self, path: str) -> None:
        """Raises BadField where no tensor of a model can be so."""
        if self.datatype not in NUMPY_KINDS:
            raise BadField(f"{path}.datatype", f"{self.datatype[:40]!r} is not known", hint=f"one of {', '.join(NUMPY_KINDS)}")
        if len(self.shape) > MOST_RANK or not all(size >= FREE for size in self.shape):
            raise BadField(f"{path}.shape", f"must hold at most {MOST_RANK} whole numbers, -1 for any size")

    def fits(self, shape: tuple[int, ...]) -> bool:
        return len(shape) == len(self.shape) and all(own in (FREE, size) for own, size in zip(self.shape, shape, strict=True))

    @property
    def sizes(self) -> str:
        """For messages: [n, 3, ?, ?]."""
        return f"[{', '.join('any' if size == FREE else str(size) for size in self.shape)}]"
