"""The facts of a runtime on this machine, and why a missing one is missing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Missing:
    """Why a runtime, or something that it could run on, cannot be used here, and the way out."""

    name: str
    reason: str
    way_out: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}; {self.way_out}"


@dataclass(frozen=True, slots=True)
class RuntimeFacts:
    """`highest_ir` and `highest_opset` are of ONNX, found by loading tiny models; 0: it takes no ONNX."""

    version: str
    highest_ir: int = 0
    highest_opset: int = 0
    devices: tuple[str, ...] = ("cpu",)  # that it runs on here, in the order in which they are tried
    lacking: tuple[Missing, ...] = ()  # what else it could run on
