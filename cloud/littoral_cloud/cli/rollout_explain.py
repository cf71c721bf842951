"""littoral-cloud rollout explain: what a rollout waits for, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from littoral_cloud.cli.command import command
from littoral_cloud.cli.rollout_steering import RolloutArgument
from littoral_cloud.client.fleet_client import FleetClient, part
from littoral_cloud.terminal.output import Format, FormatOption, emit


async def explain(fleet: FleetClient, rollout: RolloutArgument, format: FormatOption = Format.TABLE) -> None:
    """Say what a rollout waits for, since when, until when, who can move it, and what happens then."""
    found = await fleet.get(f"/rollouts/{part(rollout)}/explanation")
    if format == Format.JSON:
        emit(found, format)
        return
    for line in _lines(found):
        emit(line)
    nodes = found["nodes"]
    emit(
        [{**each, "first": ", ".join(each["first"])} for each in nodes], columns=("nodes", "state", "first"), empty="no nodes yet"
    )


def _lines(found: Mapping[str, Any]) -> list[str]:
    paused = f", paused by {found['paused_by']}" if found["paused_by"] else ""
    lines = [f"{found['rollout']}: {found['state']}{paused}, since {found['since']}"]
    lines += [f"reason: {found['reason']}"] if found["reason"] else []
    lines += [f"waits for {each}" for each in found["waits_for"]]
    lines += [f"can be moved by {each}" for each in found["movers"]]
    at = f"at {found['until']}" if found["until"] is not None else "then"
    return [*lines, f"{at}: {found['then']}"]


def add_explain(app: typer.Typer) -> None:
    """Adds the command to the noun."""
    command(app, example="rollout explain digits-1-r1")(explain)
