"""Students beside the baseline that they must beat, and their release."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
