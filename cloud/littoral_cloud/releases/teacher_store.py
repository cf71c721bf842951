"""A teacher's way into the blobs, and back: see cloud/littoral_cloud/releases/teacher_records.py for what is stored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from littoral.architectures import sizes_of
from littoral.errors import BadInput
from littoral.preparation import Input
from littoral_cloud.app import Core
from littoral_cloud.factory.production import Made
from littoral_cloud.releases.teacher_records import StoredTeacher, Voice, keep
from littoral_cloud.teachers.teacher import Ensemble, NetworkTeacher, Teacher
from littoral_cloud.training.preparation import INPUT_NAME
from littoral_cloud.training.train import Trained
from littoral_cloud.training.weights import arrays_of, file_bytes, load_weights, module_of


async def store_teacher(core: Core, made: Made) -> None:
    """Stores the teacher of a recipe's students, where it is one that can be stored."""
    if made.teacher is None or not made.packaged:
        return
    manifest = made.packaged[0].manifest
    stored = described(made.teacher, manifest.input.shape, len(manifest.output.labels), core.blobs.put)
    if stored is not None:
        await keep(core.ledger, made.teacher.digest, stored)


def described(teacher: Teacher, shape: tuple[int, ...], classes: int, put: Callable[[bytes], str]) -> StoredTeacher | None:
    """Args:
    put: stores bytes and gives their digest.
    """
    members = teacher.members if isinstance(teacher, Ensemble) else (teacher,)
    shares = teacher.weights if isinstance(teacher, Ensemble) else (1.0,)
    networks = [member for member in members if isinstance(member, NetworkTeacher)]
    if len(networks) != len(members):
        return None
    voices = tuple(
        Voice(
            weights=put(file_bytes(arrays_of(network.trained.module), network.trained.spec)),
            scale=network.trained.input.scale,
            mean=network.trained.input.mean,
            std=network.trained.input.std,
            share=share,
        )
        for network, share in zip(networks, shares, strict=True)
    )
    combined: dict[str, Any] = {}
    if isinstance(teacher, Ensemble):
        combined = {"combine": teacher.combine, "temperature": teacher.temperature}
    return StoredTeacher(name=teacher.name, shape=shape, classes=classes, voices=voices, **combined)


def teacher_from(stored: StoredTeacher, path: Callable[[str], Path]) -> Teacher:
    """Args:
    path: of the file of a blob.

    Raises NotFound where a blob is gone, BadInput where it is not what it must be.
    """
    members = tuple(_network(stored, voice, path(voice.weights)) for voice in stored.voices)
    if len(members) == 1:
        return members[0]
    if stored.combine not in ("logits", "probabilities"):
        raise BadInput(f"teacher {stored.name}: combine {stored.combine!r} is not known")
    combine: Any = stored.combine
    return Ensemble(members, tuple(voice.share for voice in stored.voices), combine, stored.temperature)


def _network(stored: StoredTeacher, voice: Voice, weights: Path) -> NetworkTeacher:
    arrays, spec = load_weights(weights)
    module = module_of(spec, arrays, **sizes_of(spec, stored.shape), classes=stored.classes)
    given = Input(INPUT_NAME, stored.shape, voice.scale, voice.mean, voice.std)
    return NetworkTeacher.of(Trained.of(stored.name, module, spec, given, 0.0))
