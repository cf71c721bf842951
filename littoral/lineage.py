"""What an artifact was made from and with: with the recipe and the files, all that decides its digest (docs/lineage.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

DATA = "data"  # the data set's digest
WEIGHTS = "weights"  # of the network that it was exported from
TEACHER = "teacher"  # from which the student learnt
MEMBER = "member"  # of each voice, where the teacher is an ensemble
BASE = "base"  # weights that a federated run began with, or a file that was imported
OTHER = "parent"


@dataclass(frozen=True, slots=True)
class Lineage:
    roles: tuple[str, ...]  # what each of the manifest's parents was, in their order; a role may be unknown to this version
    seed: int | None  # that its training drew from; None: it was not trained here
    threads: int | None  # of torch, as it was trained; another number gives other weights
    libraries: Mapping[str, str]  # versions, by name, of what decides the bytes of its kind
    processor: str  # "x86_64 AVX2": other vector instructions round otherwise; "": nothing was trained or measured

    def found(self, parents: tuple[str, ...], role: str) -> tuple[str, ...]:
        """The digests in that role, in their order."""
        return tuple(digest for digest, its in zip(parents, self.roles, strict=True) if its == role)
