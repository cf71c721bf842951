"""Students beside the baseline that they must beat, and their release."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from littoral.digest import digest_of
from littoral_cloud.terminal.output import Format, by_class, notice, remarked

if TYPE_CHECKING:
    from littoral_cloud.factory.baseline import Baseline
    from littoral_cloud.factory.production import Made
    from littoral_cloud.packaging.package import Packaged
    from littoral_cloud.settings import CloudSettings


def students_of(
    packaged: Sequence[Packaged], base: Baseline, released: Sequence[Packaged], format: Format
) -> list[dict[str, Any]]:
    """A row for each student; in a table after the baseline's rows, for programs without them.

    Args:
        released: the students in the release.
    """
    names = {p.manifest.name for p in released}
    rows = [
        {
            "name": m.name,
            "accuracy": m.accuracy,
            **by_class(m.worst_class, m.accuracy_by_label, format),
            "bytes": m.artifact_bytes,
            "runtime": m.runtime,
            "released": m.name in names,
            **remarked(m.remarks, format),
        }
        for m in (p.manifest for p in packaged)
    ]
    return rows if format == Format.JSON else [*base.rows(), *rows]


async def release_students(
    settings: CloudSettings, made: Made, note: str, data: Path, *, rollout: bool
) -> tuple[Sequence[Packaged], dict[str, Any]]:
    """Releases the artifacts that a node accepts: these, and the ids of the release and of its rollout ("": none)."""
    from littoral_cloud.app import open_core
    from littoral_cloud.packaging.node_check import taken_by_a_node
    from littoral_cloud.releases.release import release_made
    from littoral_cloud.rollouts.commands import policy_with, start_rollout

    taken = await taken_by_a_node(made.packaged, notice)
    async with open_core(settings) as core:
        now = core.clock()
        made = replace(made, packaged=taken)
        release = await release_made(core, made, now, kind="initial", note=note, data=str(data.resolve()))
        policy, above = policy_with(core.settings.probation_s), core.settings.approval_above
        started = await start_rollout(core.ledger, release, now, policy, approval_above=above) if rollout else ""
    return taken, {"release": release.release_id, "rollout": started}


async def push_students(
    settings: CloudSettings, made: Made, note: str, *, rollout: bool
) -> tuple[Sequence[Packaged], dict[str, Any]]:
    """As release_students, at the coordinator that this user is logged in to: it tests, signs and releases them."""
    from littoral_cloud.client.fleet_client import fleet_client
    from littoral_cloud.client.push import Pushed, push_artifacts, push_release, push_teacher
    from littoral_cloud.releases.release import weights_of
    from littoral_cloud.releases.teacher_store import described

    async with fleet_client(settings, folder_by_flag=False) as fleet:
        taken = await push_artifacts(fleet, [Pushed(packaged, weights) for packaged, weights in weights_of(made)], notice)
        voices: dict[str, bytes] = {}
        manifest = made.packaged[0].manifest

        def put(content: bytes) -> str:
            voices[digest := digest_of(content)] = content
            return digest

        if made.teacher is not None:
            teacher = described(made.teacher, manifest.input.shape, len(manifest.output.labels), put)
            if teacher is not None:
                await push_teacher(fleet, made.teacher.digest, teacher, voices)
        released = await push_release(fleet, [digest for _, digest in taken], "initial", note, rollout=rollout)
    names = {each.packaged.manifest.name for each, _ in taken}
    return [packaged for packaged in made.packaged if packaged.manifest.name in names], released
