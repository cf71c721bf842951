"""littoral-cloud rollout explain: what a rollout waits for, in words."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import typer

from littoral_cloud.app import Core
from littoral_cloud.cli.command import command
from littoral_cloud.cli.rollout_steering import RolloutArgument
from littoral_cloud.rollouts.commands import no_rollout
from littoral_cloud.rollouts.explanation import RolloutExplanation, explain_rollout
from littoral_cloud.rollouts.seen import read_one
from littoral_cloud.terminal.output import Format, FormatOption, emit
from littoral_cloud.terminal.text import when


async def explain(core: Core, rollout: RolloutArgument, format: FormatOption = Format.TABLE) -> None:
    """Say what a rollout waits for, since when, until when, who can move it, and what happens then."""
    if (seen := await read_one(core.ledger, rollout)) is None:
        raise no_rollout(rollout)
    found = explain_rollout(seen, core.clock())
    if format == Format.JSON:
        emit({"rollout": rollout, **_json(found)}, format)
        return
    for line in _lines(rollout, found):
        emit(line)
    emit(
        [{"nodes": each.nodes, "state": each.state, "first": ", ".join(each.first)} for each in found.nodes], empty="no nodes yet"
    )


def _json(found: RolloutExplanation) -> dict[str, Any]:
    until = when(found.until) if found.until is not None else None
    return {**asdict(found), "since": when(found.since), "until": until}


def _lines(rollout_id: str, found: RolloutExplanation) -> list[str]:
    paused = f", paused by {found.paused_by}" if found.paused_by else ""
    lines = [f"{rollout_id}: {found.state}{paused}, since {when(found.since)}"]
    lines += [f"reason: {found.reason}"] if found.reason else []
    lines += [f"waits for {each}" for each in found.waits_for]
    lines += [f"can be moved by {each}" for each in found.movers]
    at = f"at {when(found.until)}" if found.until is not None else "then"
    return [*lines, f"{at}: {found.then}"]


def add_explain(app: typer.Typer) -> None:
    """Adds the command to the noun."""
    command(app, example="rollout explain digits-1-r1")(explain)
