"""What an artifact was made from and with: with the recipe and the files, all that decides its digest (docs/lineage.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from littoral.errors import BadManifest

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


def lineage_from(body: Any, path: str, parents: int) -> Lineage:
    """Raises BadManifest, naming the field."""
    if not isinstance(body, dict):
        raise BadManifest(f"{path}: must be an object, is {type(body).__name__}")
    roles, libraries, processor = body.get("roles"), body.get("libraries"), body.get("processor")
    if not isinstance(roles, list) or len(roles) != parents or not all(isinstance(role, str) for role in roles):
        raise BadManifest(f"{path}.roles: must hold {parents} names, one for each parent")
    if not isinstance(libraries, dict) or not all(isinstance(version, str) for version in libraries.values()):
        raise BadManifest(f"{path}.libraries: must be an object of versions, each a string")
    if not isinstance(processor, str):
        raise BadManifest(f"{path}.processor: must be str, is {type(processor).__name__}")
    return Lineage(tuple(roles), _whole(body, path, "seed"), _whole(body, path, "threads"), libraries, processor)


def _whole(body: Mapping[str, Any], path: str, name: str) -> int | None:
    value = body.get(name)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise BadManifest(f"{path}.{name}: must be a whole number or null, is {value!r:.40}")
    return value
