"""littoral-cloud node: who is in the fleet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from littoral.errors import BadInput
from littoral_cloud.cli.command import command
from littoral_cloud.client.fleet_client import FleetClient, part
from littoral_cloud.terminal.output import Format, FormatOption, emit

NodeArgument = Annotated[str, typer.Argument(help="The node's name or id.")]


async def accept(fleet: FleetClient, node: NodeArgument, format: FormatOption = Format.TABLE) -> None:
    """Let a node in that waits or was revoked. It comes back by itself."""
    _emit_state(await fleet.post(f"/nodes/{part(node)}/accept"), "accepted", format)


async def reject(fleet: FleetClient, node: NodeArgument, format: FormatOption = Format.TABLE) -> None:
    """Never let a node in that waits. Its name is free again."""
    _emit_state(await fleet.post(f"/nodes/{part(node)}/reject"), "rejected", format)


async def revoke(
    fleet: FleetClient,
    node: NodeArgument,
    reason: Annotated[str, typer.Option(help="Why, for the audit trail.")] = "",
    format: FormatOption = Format.TABLE,
) -> None:
    """Take a node out at once: end its session, downloads and federated work. It serves what it has; node accept lets it in."""
    _emit_state(await fleet.post(f"/nodes/{part(node)}/revoke", {"reason": reason}), "revoked", format)


async def decommission(fleet: FleetClient, node: NodeArgument, format: FormatOption = Format.TABLE) -> None:
    """Remove a node from the fleet for ever: ends its session now and refuses its certificate."""
    _emit_state(await fleet.post(f"/nodes/{part(node)}/decommission"), "decommissioned", format)


async def replace(
    fleet: FleetClient,
    old: Annotated[str, typer.Argument(help="The node whose machine is gone, by name or id.")],
    new: Annotated[str, typer.Argument(help="The node that takes its place, by name or id.")],
    format: FormatOption = Format.TABLE,
) -> None:
    """Put a newly enrolled node in the place of another: it gets the name, labels and models. The old one is decommissioned."""
    made = await fleet.post(f"/nodes/{part(old)}/replace", {"by": new})
    text = f"{made['id']} is {made['name']} from now on; the node before is decommissioned"
    emit({"id": made["id"], "name": made["name"]} if format == Format.JSON else text, format)


async def import_(
    fleet: FleetClient,
    file: Annotated[Path, typer.Argument(help="A CSV with a header like hardware_id,name,site; other columns are labels.")],
    format: FormatOption = Format.TABLE,
) -> None:
    """Expect the machines of a list: each gets its name and labels when it enrols, and does not wait for an operator."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"FILE: {file} cannot be read: {error}", hint="name a CSV file in UTF-8") from error
    made = await fleet.post("/nodes/import", {"csv": text})
    emit(made if format == Format.JSON else f"{made['expected']} machines are expected", format)


def _emit_state(node: Mapping[str, Any], state: str, format: Format) -> None:
    body = {"id": node["id"], "name": node["name"], "state": state}
    emit(body if format == Format.JSON else f"{node['name']} ({node['id']}) is {state}", format)


def add_admission(app: typer.Typer) -> None:
    """Adds these commands to `littoral-cloud node`."""
    command(app, example="node decommission gateway")(decommission)
    command(app, example="node accept gateway")(accept)
    command(app, example="node reject gateway")(reject)
    command(app, example='node revoke gateway --reason "stolen"')(revoke)
    command(app, "import", example="node import fleet.csv")(import_)
    command(app, example="node replace gateway gateway-2")(replace)
