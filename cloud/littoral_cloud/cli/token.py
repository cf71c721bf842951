"""littoral-cloud token: makes, lists and revokes join tokens."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from littoral.errors import BadInput
from littoral_cloud.cli.command import command
from littoral_cloud.cli.noun import noun
from littoral_cloud.client.fleet_client import FleetClient, part
from littoral_cloud.fleet.labels import labels_from
from littoral_cloud.terminal.output import Format, FormatOption, emit

app = noun("Manage join tokens for new nodes.", "littoral-cloud token create --name gateway --ttl 24h")

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@command(app, example="token create --name gateway --ttl 24h --uses 1 --address fleet.example:7443", makes=True)
async def create(
    fleet: FleetClient,
    name: Annotated[str, typer.Option(help="The token's name in the audit trail.")] = "",
    ttl: Annotated[str, typer.Option(help="How long the token is valid: 90s, 30m, 24h, 7d.")] = "24h",
    uses: Annotated[int, typer.Option(min=1, help="How many nodes may enrol with the token.")] = 1,
    label: Annotated[list[str] | None, typer.Option(help="A label key=value for its nodes (repeatable).")] = None,
    address: Annotated[str, typer.Option(help="host:port of the enrolment listener, as nodes reach it.")] = "",
    ask: Annotated[bool, typer.Option("--ask", help="Nodes that `node import` does not name wait for an operator.")] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Make a token, and print the join line for a node."""
    body = {"name": name, "ttl_s": seconds(ttl), "uses": uses, "labels": labels_from(label or [], "--label")}
    body |= {"address": address, "ask": ask}
    made = await fleet.post("/tokens", body)
    emit(made if format == Format.JSON else made["join"], format)  # the line alone, so that it can be piped


@command(app, "list", example="token list --format json")
async def list_(fleet: FleetClient, format: FormatOption = Format.TABLE) -> None:
    """List all tokens, without their secrets."""
    rows = await fleet.every("/tokens")
    if format == Format.TABLE:
        rows = [row | {"id": row["id"][:12]} for row in rows]
    emit(rows, format, empty="no tokens")


@command(app, example="token revoke 3f9a0c")
async def revoke(
    fleet: FleetClient,
    token: Annotated[str, typer.Argument(help="The token's name or id, or the first six characters of its id or more.")],
    format: FormatOption = Format.TABLE,
) -> None:
    """Revoke a token. Nodes that enrolled with it stay."""
    gone = await fleet.delete(f"/tokens/{part(token)}")
    emit(gone if format == Format.JSON else f"revoked {gone['id'][:12]}", format)


def seconds(text: str, option: str = "--ttl") -> float:
    """Seconds of "90s", "30m", "24h", "7d". Raises BadInput."""
    match = re.fullmatch(r"(\d+)([smhd])", text.strip(), re.ASCII)
    if match and len(match[1]) > 6:
        raise BadInput(f"{option}: {text.strip()[:20]!r} is too long a time", hint=f"at most 999999{match[2]}")
    if not match or int(match[1]) == 0:
        raise BadInput(f"{option}: {text!r} is no time", hint="give a number and s, m, h or d, like 24h")
    return float(int(match[1]) * _UNITS_S[match[2]])
