"""What was made on this machine goes to the coordinator: files up, then each artifact is tested there, signed and released.

Imports nothing that trains: it takes what has a manifest and bytes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from littoral.digest import digest_of
from littoral.errors import RuntimeFailure
from littoral_cloud.client.files import upload
from littoral_cloud.client.fleet_client import FleetClient
from littoral_cloud.releases.catalogue import PackagedArtifact
from littoral_cloud.releases.teacher_records import StoredTeacher
from littoral_cloud.training.resume import Tell


@dataclass(frozen=True, slots=True)
class Pushed:
    """`weights`: safetensors bytes that it was exported from; empty: none."""

    packaged: PackagedArtifact
    weights: bytes = b""


async def push_artifacts(fleet: FleetClient, made: Sequence[Pushed], tell: Tell) -> list[tuple[Pushed, str]]:
    """Those that a node takes, with the digests of their signed manifests.

    Raises RuntimeFailure where a node would refuse every one, and what the coordinator answered.
    """
    taken, refused = list[tuple[Pushed, str]](), list[str]()
    for each in made:
        manifest = each.packaged.manifest
        for content in (*each.packaged.files.values(), *each.packaged.coded.values()):
            await push_bytes(fleet, content)
        weights = await push_bytes(fleet, each.weights) if each.weights else ""
        body = {"manifest": await push_bytes(fleet, manifest.encode()), "weights": weights}
        try:
            found = await fleet.post("/artifacts", body, long=True)
        except RuntimeFailure as error:
            refused.append(error.message)
            continue
        taken.append((each, found["artifact"]["manifest_digest"]))
        if found["untested"]:
            tell(f"{manifest.name}: not tried as a node would, {found['untested']}")
    if not taken:
        raise RuntimeFailure("; ".join(refused) or "there is no artifact to release", hint="nothing was released")
    for reason in refused:
        tell(f"{reason}; it is not released")
    return taken


async def push_teacher(fleet: FleetClient, digest: str, teacher: StoredTeacher, voices: Mapping[str, bytes]) -> None:
    """Args:
    digest: under which the students' manifests name it.
    voices: bytes by the digests in `teacher`.
    """
    for content in voices.values():
        await push_bytes(fleet, content)
    await fleet.post("/artifacts/teachers", {"digest": digest, "teacher": asdict(teacher)})


async def push_release(fleet: FleetClient, digests: Sequence[str], kind: str, note: str, *, rollout: bool) -> dict[str, Any]:
    """The ids of the release, and of its rollout ("": none)."""
    made = await fleet.post("/releases", {"artifacts": list(digests), "note": note, "kind": kind})
    release = made["release"]["release_id"]
    started = (await fleet.post("/rollouts", {"release": release}))["rollout"] if rollout else ""
    return {"release": release, "rollout": started}


async def push_bytes(fleet: FleetClient, content: bytes) -> str:
    """Their digest."""
    digest = digest_of(content)
    with tempfile.NamedTemporaryFile(prefix="littoral-push-") as file:
        file.write(content)
        file.flush()
        await upload(fleet, digest, Path(file.name))
    return digest
