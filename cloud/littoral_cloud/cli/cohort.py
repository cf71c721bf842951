"""littoral-cloud cohort: names for filters over nodes."""

from __future__ import annotations

import getpass
from dataclasses import asdict
from typing import Annotated

import typer

from littoral_cloud.app import Core
from littoral_cloud.cli.command import command
from littoral_cloud.cli.noun import noun
from littoral_cloud.fleet.cohorts import all_cohorts, delete_cohort, matching, read_cohort, save_cohort
from littoral_cloud.terminal.output import Format, FormatOption, emit, notice

app = noun("Name filters over nodes, for rollouts.", "littoral-cloud cohort show harbour")

NameArgument = Annotated[str, typer.Argument(help="The cohort's name.")]


@command(app, example="cohort save harbour --where site=harbour,name=cam-*")
async def save(
    core: Core,
    name: NameArgument,
    where: Annotated[str, typer.Option(help="Labels, class, version and a pattern of names: site=harbour,name=cam-*.")],
    format: FormatOption = Format.TABLE,
) -> None:
    """Save a filter under a name, in place of the one before."""
    cohort = await save_cohort(core.ledger, name, where, getpass.getuser())
    nodes = len(await matching(core.ledger, where))
    emit({**asdict(cohort), "nodes": nodes}, format)
    if not nodes:
        notice(f"warning: --where: {where[:200]} matches no node now")


@command(app, "list", example="cohort list")
async def list_(core: Core, format: FormatOption = Format.TABLE) -> None:
    """List all cohorts."""
    emit([asdict(each) for each in await all_cohorts(core.ledger)], format, columns=("name", "where"), empty="no cohorts")


@command(app, example="cohort show harbour")
async def show(core: Core, name: NameArgument, format: FormatOption = Format.TABLE) -> None:
    """Show a cohort's filter, and the nodes that it has now."""
    cohort = await read_cohort(core.ledger, name)
    nodes = await matching(core.ledger, cohort.where)
    emit({**asdict(cohort), "nodes": len(nodes), "names": sorted(node.name for node in nodes)}, format)


@command(app, example="cohort delete harbour")
async def delete(core: Core, name: NameArgument, format: FormatOption = Format.TABLE) -> None:
    """Delete a cohort. Rollouts that were started with it keep its filter."""
    await delete_cohort(core.ledger, name, getpass.getuser())
    emit({"cohort": name, "deleted": True} if format == Format.JSON else f"{name} is deleted", format)
