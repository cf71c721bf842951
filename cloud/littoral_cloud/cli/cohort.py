"""littoral-cloud cohort: names for filters over nodes."""

from __future__ import annotations

from typing import Annotated

import typer

from littoral_cloud.cli.command import command
from littoral_cloud.cli.noun import noun
from littoral_cloud.client.fleet_client import FleetClient, part
from littoral_cloud.terminal.output import Format, FormatOption, emit, notice

app = noun("Name filters over nodes, for rollouts.", "littoral-cloud cohort show harbour")

NameArgument = Annotated[str, typer.Argument(help="The cohort's name.")]


@command(app, example="cohort save harbour --where site=harbour,name=cam-*")
async def save(
    fleet: FleetClient,
    name: NameArgument,
    where: Annotated[str, typer.Option(help="Labels, class, version and a pattern of names: site=harbour,name=cam-*.")],
    format: FormatOption = Format.TABLE,
) -> None:
    """Save a filter under a name, in place of the one before."""
    saved = await fleet.put(f"/cohorts/{part(name)}", {"where": where})
    emit(saved, format)
    if not saved["nodes"]:
        notice(f"warning: --where: {where[:200]} matches no node now")


@command(app, "list", example="cohort list")
async def list_(fleet: FleetClient, format: FormatOption = Format.TABLE) -> None:
    """List all cohorts."""
    emit(await fleet.every("/cohorts"), format, columns=("name", "where"), empty="no cohorts")


@command(app, example="cohort show harbour")
async def show(fleet: FleetClient, name: NameArgument, format: FormatOption = Format.TABLE) -> None:
    """Show a cohort's filter, and the nodes that it has now."""
    emit(await fleet.get(f"/cohorts/{part(name)}"), format)


@command(app, example="cohort delete harbour")
async def delete(fleet: FleetClient, name: NameArgument, format: FormatOption = Format.TABLE) -> None:
    """Delete a cohort. Rollouts that were started with it keep its filter."""
    await fleet.delete(f"/cohorts/{part(name)}")
    emit({"cohort": name, "deleted": True} if format == Format.JSON else f"{name} is deleted", format)
