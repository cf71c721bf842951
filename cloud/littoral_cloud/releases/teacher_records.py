"""Stored teachers, which can answer: kind "teacher", id the digest by which lineage names the teacher.

A network that was trained here, or read from a file of weights, is stored with its release, an ensemble of them too; its weights
are blobs that the record names. A teacher that is an ONNX file or a user's function stays where it was and does not answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from littoral.errors import NotFound
from littoral.lineage import BASE, TEACHER
from littoral.manifest import Manifest
from littoral_cloud.fleet.blobs import BlobStore
from littoral_cloud.fleet.ledger import Change, Ledger, Write
from littoral_cloud.fleet.records import Artifact, dump, load
from littoral_cloud.releases.catalogue import read_artifact
from littoral_cloud.releases.parents import parents_by_role

KIND = "teacher"
_GENERATIONS = 16
"""Federated runs between an artifact and the one that learnt from a teacher."""


class TeacherMissing(NotFound):
    """No teacher is stored for an artifact: it had none, or one that cannot be stored."""

    code = "teacher-missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """One network of a teacher: its weights as a blob, and how it wants its inputs (littoral.preparation.Input)."""

    weights: str  # safetensors with the architecture's spec
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    share: float = 1.0  # of an ensemble; only the proportions count


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTeacher:
    name: str
    shape: tuple[int, ...]  # of one raw input
    classes: int
    voices: tuple[Voice, ...]
    combine: str = "logits"  # of an ensemble: "logits" or "probabilities"
    temperature: float = 4.0
    schema: int = 1


async def keep(ledger: Ledger, digest: str, teacher: StoredTeacher) -> None:
    """Makes a teacher known; a second time changes nothing."""
    await ledger.commit(Change((Write(KIND, digest, dump(teacher), None),)))


async def teacher_of(
    ledger: Ledger, blobs: BlobStore, trusted: Mapping[str, bytes], manifest_digest: str
) -> tuple[str, StoredTeacher, Artifact]:
    """(digest, teacher, artifact) of the teacher that an artifact learnt from; for a federated run's artifact, of the run's base.

    Raises NotFound for an artifact that is unknown, TeacherMissing.
    """
    asked = artifact = await read_artifact(ledger, manifest_digest)
    for _ in range(_GENERATIONS):
        parents = parents_by_role(Manifest.open(blobs.read(artifact.manifest_digest), trusted))
        for digest in parents.get(TEACHER, ()):
            if (doc := await ledger.get(KIND, digest)) is not None:
                return digest, load(StoredTeacher, doc), asked
        base = await _with_weights(ledger, parents.get(BASE, ()))
        if base is None:
            break
        artifact = base
    raise TeacherMissing(
        f"artifact {asked.name}: no teacher of it is stored",
        hint="only networks trained here or read from weights are, by `train` and `compress` of 0.2.0 and later",
    )


async def _with_weights(ledger: Ledger, digests: tuple[str, ...]) -> Artifact | None:
    if not digests:
        return None
    artifacts = (load(Artifact, doc) for doc in await ledger.all("artifact"))
    return next((artifact for artifact in artifacts if artifact.weights in digests), None)
