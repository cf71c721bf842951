"""What the closed loop did with one model: the document of kind "loop", whose id is the model."""

from __future__ import annotations

from dataclasses import dataclass

KIND = "loop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What the loop did with one model and could not read anywhere else."""

    settled: tuple[str, ...] = ()  # rollouts and runs that need nothing more
    schema: int = 1
