"""littoral-cloud sample: lists the escalations of nodes, with the node's answer and the teacher's."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from littoral_cloud.cli.command import command
from littoral_cloud.cli.noun import noun
from littoral_cloud.client.fleet_client import FleetClient
from littoral_cloud.terminal.output import Format, FormatOption, emit
from littoral_cloud.terminal.text import when

app = noun(
    "Read the samples: escalations of nodes, with the node's answer and the teacher's.",
    "littoral-cloud sample list --model digits",
)

_COLUMNS = ("at", "node", "model", "artifact", "confidence", "node_class", "teacher_class")


@command(app, "list", example="sample list --model digits --disagree")
async def list_(
    fleet: FleetClient,
    model: Annotated[str | None, typer.Option(help="Only samples of this model.")] = None,
    node: Annotated[str | None, typer.Option(help="Only samples of this node, by name or id.")] = None,
    disagree: Annotated[bool, typer.Option("--disagree", help="Only samples where the teacher's class differs.")] = False,
    last: Annotated[int, typer.Option(min=1, max=1_000_000, help="At most this many, the newest.")] = 100,
    format: FormatOption = Format.TABLE,
) -> None:
    """List the newest samples, oldest first."""
    async with fleet.lines("/samples", model=model, node=node, disagree=disagree, last=last) as lines:
        rows = [json.loads(line) async for line in lines]
    if format == Format.TABLE:
        rows = [{**row, "at": when(row["at"]), "artifact": _short(row["manifest"])} for row in rows]
    emit(rows, format, columns=_COLUMNS, empty="no samples")


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]
