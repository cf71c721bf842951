"""littoral-cloud operator: tokens for people and scripts, each with a role."""

from __future__ import annotations

from typing import Annotated

import typer

from littoral_cloud.cli.command import command
from littoral_cloud.cli.noun import noun
from littoral_cloud.cli.token import seconds
from littoral_cloud.client.fleet_client import FleetClient, part
from littoral_cloud.fleet.labels import labels_from
from littoral_cloud.terminal.output import Format, FormatOption, emit
from littoral_cloud.trust.people import Role

app = noun("Manage the tokens of operators.", "littoral-cloud operator create ci-pipeline --role operator --ttl 90d")

TokenArgument = Annotated[str, typer.Argument(help="The token's name or id, or the first six characters of its id or more.")]

_COLUMNS = ("name", "role", "state", "labels", "models", "expires", "id")


@command(app, example="operator create ci-pipeline --role operator --model digits --ttl 90d")
async def create(
    fleet: FleetClient,
    name: Annotated[str, typer.Argument(help="Who gets the token: its name in the audit trail.")],
    role: Annotated[Role, typer.Option(help="viewer reads, operator changes the fleet, admin changes rights.")] = Role.VIEWER,
    label: Annotated[list[str] | None, typer.Option(help="Only nodes with this label key=value (repeatable).")] = None,
    model: Annotated[list[str] | None, typer.Option(help="Only this model (repeatable).")] = None,
    ttl: Annotated[str, typer.Option(help="How long the token is valid: 30m, 24h, 90d.")] = "90d",
    format: FormatOption = Format.TABLE,
) -> None:
    """Make a token, and print its secret. It is shown this once."""
    body = {
        "name": name,
        "role": role.value,
        "labels": labels_from(label or [], "--label"),
        "models": model or [],
        "ttl_s": seconds(ttl),
    }
    made = await fleet.post("/operator-tokens", body)
    emit(made if format == Format.JSON else made["secret"], format)


@command(app, "list", example="operator list")
async def list_(fleet: FleetClient, format: FormatOption = Format.TABLE) -> None:
    """List all tokens of operators, without their secrets."""
    rows = await fleet.every("/operator-tokens")
    if format == Format.TABLE:
        rows = [row | {"id": row["id"][:12]} for row in rows]
    emit(rows, format, columns=_COLUMNS, empty="no tokens of operators")


@command(app, example="operator renew ci-pipeline --ttl 90d --new-secret")
async def renew(
    fleet: FleetClient,
    token: TokenArgument,
    ttl: Annotated[str, typer.Option(help="How long the token is valid from now on: 30m, 24h, 90d.")] = "90d",
    new_secret: Annotated[
        bool, typer.Option("--new-secret", help="Print another secret; the one before opens nothing any more.")
    ] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Give a token another expiry, and with --new-secret another secret."""
    made = await fleet.post(f"/operator-tokens/{part(token)}/renew", {"ttl_s": seconds(ttl), "new_secret": new_secret})
    words = made["secret"] or f"{made['token']['name']} is valid until {made['token']['expires']}"
    emit(made if format == Format.JSON else words, format)


@command(app, example="operator revoke ci-pipeline")
async def revoke(
    fleet: FleetClient,
    token: TokenArgument,
    format: FormatOption = Format.TABLE,
) -> None:
    """Revoke a token. It opens nothing any more."""
    gone = await fleet.delete(f"/operator-tokens/{part(token)}")
    emit(gone if format == Format.JSON else f"revoked {gone['name']}", format)


@command(app, example="operator whoami")
async def whoami(fleet: FleetClient, format: FormatOption = Format.TABLE) -> None:
    """Show who you are to the fleet, and what you may do."""
    emit(await fleet.get("/whoami"), format)
