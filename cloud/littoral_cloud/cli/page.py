"""littoral-cloud page: a link that signs you in to the page."""

from __future__ import annotations

import webbrowser
from typing import Annotated

import typer

from littoral.errors import Unavailable
from littoral_cloud.cli.command import command
from littoral_cloud.cli.noun import noun
from littoral_cloud.cli.token import seconds
from littoral_cloud.client.fleet_client import FleetClient
from littoral_cloud.terminal.output import Format, FormatOption, emit

app = noun("Open the page: the fleet in a browser.")


@command(app, example="page --open")
async def page(
    fleet: FleetClient,
    ttl: Annotated[str, typer.Option(help="For how long the link can be used: 60s, 15m at most.")] = "60s",
    open_: Annotated[bool, typer.Option("--open", help="Open it in this machine's browser, too.")] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Print a link that signs you in to the page, once, with your own rights."""
    made = await fleet.post("/sign-in-links", {"ttl_s": seconds(ttl)})
    if fleet.where.startswith("https://"):
        made["url"] = fleet.where + made["path"]
    emit(made if format == Format.JSON else made["url"], format)
    if open_ and not webbrowser.open(made["url"]):
        raise Unavailable("browser: none could be opened here", hint="copy the link into a browser")
