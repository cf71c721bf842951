"""What a long training needs to go on after kill -9: one safetensors file for each training, replaced whole.

A file says which training it is of (`key`: a digest of everything that decides the weights). Another training of the same name
does not go on from it but begins anew, and replaces it.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from littoral.errors import BadInput, unwritten

Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    step: int  # the last one that is in the tensors
    tensors: Tensors
    notes: Mapping[str, Any]  # JSON values


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """A folder of them. `every`: steps between two; 0 keeps the last state of a training alone."""

    folder: Path
    every: int = 500

    def due(self, step: int, steps: int) -> bool:
        return step == steps or (self.every > 0 and step % self.every == 0)

    def save(self, name: str, key: str, checkpoint: Checkpoint) -> None:
        """Raises BadInput or NoSpace, naming the file, where it cannot be written; what was there before stays whole."""
        place = self._place(name)
        part = place.with_suffix(".part")
        notes = {"key": key, "step": str(checkpoint.step), "notes": json.dumps(dict(checkpoint.notes))}
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            # A tensor may have its channels last in memory; the code that loads it restores that layout.
            save_file({k: t.detach().contiguous() for k, t in checkpoint.tensors.items()}, part, metadata=notes)
            with part.open("rb") as file:
                os.fsync(file.fileno())
            part.replace(place)
        except (OSError, SafetensorError) as error:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise unwritten(f"checkpoints: {place}", error, hint="name another folder") from error

    def load(self, name: str, key: str) -> Checkpoint | None:
        """The last one of this very training, if there is one.

        Raises BadInput where the file is damaged: hours of work are not thrown away without a word.
        """
        place = self._place(name)
        try:
            if not place.is_file():
                return None
            with safe_open(place, framework="pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("key") != key:
                    return None
                # Copied to where torch would have put them: in the file they lie at any address, and kernels that look at it
                # would add up in another order than in a training that was never stopped.
                tensors = {k: file.get_tensor(k).clone() for k in file.keys()}  # noqa: SIM118  # it is not a mapping
                return Checkpoint(int(metadata["step"]), tensors, json.loads(metadata["notes"]))
        except (SafetensorError, KeyError, ValueError, OSError) as error:
            raise BadInput(
                f"checkpoint: {place} cannot be read: {error}", hint="delete it, and this training begins anew"
            ) from error

    def _place(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"
