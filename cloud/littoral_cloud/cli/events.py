"""littoral-cloud events: what changes in the fleet, as it changes."""

from __future__ import annotations

from typing import Annotated

import typer

from littoral.errors import BadInput
from littoral_cloud.cli.command import command
from littoral_cloud.cli.noun import noun
from littoral_cloud.client.fleet_client import FleetClient
from littoral_cloud.terminal.output import Format, FormatOption, emit, emit_line
from littoral_cloud.terminal.text import printable

app = noun("Follow what changes in the fleet.")


@command(app, example="events --follow --kind node --kind rollout --format json")
async def events(
    fleet: FleetClient,
    follow: Annotated[bool, typer.Option("--follow", help="Print changes until Ctrl-C.")] = False,
    kind: Annotated[
        list[str] | None,
        typer.Option(help="Only node, presence, reported, release, rollout, run, audit (repeatable). Default: all."),
    ] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Print what changes from now on: the kind, the id and the generation of each thing. JSON has one object on each line."""
    if not follow:
        raise BadInput("events: changes are not stored, they can be followed alone", hint="littoral-cloud events --follow")
    async with fleet.events(*(kind or ())) as changes:
        async for change in changes:
            if format == Format.JSON:
                emit_line(change)
            else:
                emit(printable(f"{change['kind']:<9}  {change['id'] or 'many'}  generation {change['generation']}"))
