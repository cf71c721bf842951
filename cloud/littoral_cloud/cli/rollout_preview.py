"""littoral-cloud rollout start --dry-run: what a rollout would do, printed."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import typer

from littoral.manifest import Manifest
from littoral_cloud.app import Core
from littoral_cloud.fleet.records import Release
from littoral_cloud.rollouts.commands import check_start
from littoral_cloud.rollouts.eligibility import share_that_could_take
from littoral_cloud.rollouts.permission import moment
from littoral_cloud.rollouts.preview import RolloutPreview, preview, read_before
from littoral_cloud.rollouts.state import RolloutPolicy
from littoral_cloud.rollouts.wording import first_of
from littoral_cloud.terminal.output import Format, emit

_MOST_ROWS = 20


async def print_preview(core: Core, release: Release, policy: RolloutPolicy, format: Format) -> None:
    """Raises what start_rollout raises, but for a large first wave."""
    await check_start(core.ledger, release, policy)
    seen = await read_before(core.ledger, release, policy, core.clock())
    keys = core.trust.signing_keys()
    travels = {
        digest: Manifest.open(core.blobs.read(digest), keys).transfer_bytes
        for digest in (c.manifest_digest for c in seen.candidates)
    }
    found = preview(seen, core.clock(), travels)
    approval = policy.approval or share_that_could_take(seen) > core.settings.approval_above
    if format == Format.JSON:
        emit({"release": release.release_id, "written": False, "approval": approval, **_json(found)}, format)
        return
    if approval:
        emit("another person has to approve it first")
    _print(found, release.release_id)


def _json(found: RolloutPreview) -> dict[str, Any]:
    return {**asdict(found), "bytes": found.bytes, "least_bytes": found.least_bytes}


def _print(found: RolloutPreview, release_id: str) -> None:
    waves = [
        {
            "wave": number,
            "nodes": len(wave.nodes),
            "bytes": _range(wave.least_bytes, wave.bytes),
            "first": ", ".join(first_of(wave.nodes)),
        }
        for number, wave in enumerate(found.waves, 1)
    ]
    shares = [
        {
            "class": share.hardware_class,
            "student": share.student + (f": {', '.join(first_of(share.possible))}" if share.possible else ""),
            "nodes": share.nodes,
            "bytes_each": _range(share.least_bytes_each, share.bytes_each),
            "bytes": _range(share.nodes * share.least_bytes_each, share.nodes * share.bytes_each),
        }
        for share in found.shares
    ]
    out = [
        {"left_out_by": each.rule, "nodes": len(each.nodes), "reason": each.reason, "first": ", ".join(first_of(each.nodes))}
        for each in found.left_out
    ]
    for rows in filter(None, (waves, shares, out)):
        emit(rows[:_MOST_ROWS], Format.TABLE)
        if len(rows) > _MOST_ROWS:
            typer.echo(f"and {len(rows) - _MOST_ROWS} more rows: --format json has them all")
        typer.echo()
    for line in _lines(found, release_id):
        emit(line)


def _range(least: int, most: int) -> str:
    return str(most) if least == most else f"{least} to {most}"


def _lines(found: RolloutPreview, release_id: str) -> list[str]:
    planned = sum(len(wave.nodes) for wave in found.waves)
    lines = [f"{release_id}: {planned} nodes in {len(found.waves)} waves, at most {found.bytes} bytes to download"]
    if found.already:
        lines.append(f"{found.already} nodes serve their student already")
    if found.unmeasured:
        first = ", ".join(first_of(found.unmeasured))
        lines.append(f"get the student that fits best once their class has measured: {len(found.unmeasured)} nodes: {first}")
    lines += [f"first: {who}" for who in found.to_measure]
    if found.closed:
        first = ", ".join(first_of(found.closed))
        lines.append(f"their window is closed, the first opens {moment(found.opens)}: {len(found.closed)} nodes: {first}")
    if found.waits_for:
        lines.append(f"after rollout {', '.join(first_of(found.waits_for))}")
    return [*lines, "nothing was written"]
