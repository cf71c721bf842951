"""littoral-cloud webhook: sends what happens in the fleet to other systems."""

from __future__ import annotations

from typing import Annotated

import typer

from littoral_cloud.cli.command import command
from littoral_cloud.cli.noun import noun
from littoral_cloud.client.fleet_client import FleetClient, part
from littoral_cloud.terminal.output import Format, FormatOption, emit
from littoral_cloud.webhooks.records import USUAL

app = noun("Send events to other systems.", "littoral-cloud webhook save ops https://ops.example.org/littoral --on 'rollout.*'")

NameArgument = Annotated[str, typer.Argument(help="The webhook's name.")]
_COLUMNS = ("name", "url", "events", "delivered", "given_up", "last", "answer", "failing_since")


@command(app, example="webhook save ops https://ops.example.org/littoral --on 'rollout.*' --on drift.detected")
async def save(
    fleet: FleetClient,
    name: NameArgument,
    url: Annotated[str, typer.Argument(help="Where events are sent to, https://.")],
    on: Annotated[list[str] | None, typer.Option(help=f"A pattern of actions (repeatable). Default: {', '.join(USUAL)}.")] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Send events to a URL from now on, or change a webhook. Prints the secret of a new one, once."""
    made = await fleet.put(f"/webhooks/{part(name)}", {"url": url, "events": on or list(USUAL)})
    emit(made if format == Format.JSON else made["secret"] or f"{name} is changed; its secret stays", format)


@command(app, "list", example="webhook list")
async def list_(fleet: FleetClient, format: FormatOption = Format.TABLE) -> None:
    """List all webhooks, and how far each has come."""
    emit(await fleet.every("/webhooks"), format, columns=_COLUMNS, empty="no webhooks")


@command(app, "try", example="webhook try ops")
async def try_(fleet: FleetClient, name: NameArgument, format: FormatOption = Format.TABLE) -> None:
    """Send one event of the type webhook.tried now, and print what came back."""
    tried = await fleet.post(f"/webhooks/{part(name)}/try")
    emit(tried if format == Format.JSON else f"{name} answered: {tried['answer']}", format)
    if not tried["delivered"]:
        raise typer.Exit(8)


@command(app, example="webhook delete ops")
async def delete(fleet: FleetClient, name: NameArgument, format: FormatOption = Format.TABLE) -> None:
    """Send nothing to a webhook any more."""
    await fleet.delete(f"/webhooks/{part(name)}")
    emit({"webhook": name, "deleted": True} if format == Format.JSON else f"{name} is deleted", format)
