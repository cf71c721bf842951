"""littoral-cloud token: makes, lists and revokes join tokens."""

from __future__ import annotations

import asyncio
import re
import secrets
from typing import Annotated

import typer

from littoral.errors import BadInput, Unavailable
from littoral.identity import JoinLine
from littoral.transport import asked_at, join_address, split_address
from littoral_cloud.app import Core, open_core
from littoral_cloud.cli.command import command
from littoral_cloud.cli.noun import noun
from littoral_cloud.fleet.issued_tokens import TokenState, create_token, list_tokens, revoke_token
from littoral_cloud.local.discovery import SERVE_FILE, Serving
from littoral_cloud.settings import CloudSettings, load_settings
from littoral_cloud.terminal.output import DataDirOption, Format, FormatOption, emit
from littoral_cloud.terminal.text import when

app = noun("Manage join tokens for new nodes.", "littoral-cloud token create --name gateway --ttl 24h")

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@app.command(epilog="Example: littoral-cloud token create --name gateway --ttl 24h --uses 1 --address fleet.example:7443")
def create(
    name: Annotated[str, typer.Option(help="The token's name in the audit trail.")] = "",
    ttl: Annotated[str, typer.Option(help="How long the token is valid: 90s, 30m, 24h, 7d.")] = "24h",
    uses: Annotated[int, typer.Option(min=1, help="How many nodes may enrol with the token.")] = 1,
    label: Annotated[list[str] | None, typer.Option(help="A label key=value for its nodes (repeatable).")] = None,
    address: Annotated[str, typer.Option(help="host:port of the enrolment listener, as nodes reach it.")] = "",
    data_dir: DataDirOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Make a token, and print the join line for a node."""
    settings = load_settings(data_dir=data_dir)
    asyncio.run(_create(settings, name, seconds(ttl), uses, labels_from(label or []), address, format))


async def _create(
    settings: CloudSettings, name: str, ttl_s: float, uses: int, labels: dict[str, str], address: str, format: Format
) -> None:
    if address:
        _check_address(address)
    async with open_core(settings) as core:
        address = address or default_address(settings)
        now = core.clock()
        secret, token = await create_token(core.ledger, name or "unnamed", ttl_s, uses, labels, now, secrets.token_urlsafe)
        line = JoinLine(address, secret, int(token.expires_at), core.trust.ca.fingerprint).render()
    if format == Format.JSON:
        emit({"join": line, "name": token.name, "expires_at": token.expires_at, "uses": uses, "address": address}, format)
    else:
        emit(line)  # the line alone, so that it can be piped


@command(app, "list", example="token list --format json")
async def list_(core: Core, format: FormatOption = Format.TABLE) -> None:
    """List all tokens, without their secrets."""
    now = core.clock()
    rows = [
        {
            "id": id[:12] if format == Format.TABLE else id,
            "name": token.name,
            "state": TokenState.of(token, now).value,
            "uses_left": token.uses_left,
            "expires": when(token.expires_at),
            "labels": dict(token.labels),
        }
        for id, token in await list_tokens(core.ledger)
    ]
    emit(rows, format, empty="no tokens")


@command(app, example="token revoke 3f9a0c")
async def revoke(
    core: Core,
    token: Annotated[str, typer.Argument(help="The token's name or id, or the first characters of its id.")],
    format: FormatOption = Format.TABLE,
) -> None:
    """Revoke a token. Nodes that enrolled with it stay."""
    id = await revoke_token(core.ledger, token, actor="operator")
    emit({"id": id, "state": "revoked"} if format == Format.JSON else f"revoked {id[:12]}", format)


def seconds(text: str, option: str = "--ttl") -> float:
    """Seconds of "90s", "30m", "24h", "7d". Raises BadInput."""
    match = re.fullmatch(r"(\d+)([smhd])", text.strip(), re.ASCII)
    if match and len(match[1]) > 6:
        raise BadInput(f"{option}: {text.strip()[:20]!r} is too long a time", hint=f"at most 999999{match[2]}")
    if not match or int(match[1]) == 0:
        raise BadInput(f"{option}: {text!r} is no time", hint="give a number and s, m, h or d, like 24h")
    return float(int(match[1]) * _UNITS_S[match[2]])


def labels_from(texts: list[str]) -> dict[str, str]:
    """Raises BadInput where one is not key=value."""
    labels = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,62}", key):
            raise BadInput(f"--label: {text!r} is not key=value", hint="like --label site=harbour")
        labels[key] = value
    return labels


def default_address(settings: CloudSettings) -> str:
    """The enrolment address of this folder's coordinator: its first public name, else the address that it binds, and its port.

    Raises Unavailable where no coordinator runs.
    """
    if (serving := Serving.read(settings.data_dir)) is None:
        raise Unavailable(
            f"no coordinator runs on {settings.data_dir}, so no node could enrol",
            hint="start it: littoral-cloud serve; or name another coordinator with --address HOST:PORT",
        )
    bound, port = split_address(serving.enrolment, SERVE_FILE)
    return join_address(settings.public_names[0] if settings.public_names else asked_at(bound), port)


def _check_address(address: str) -> None:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536 or re.search(r"[\s/@]", host):
        raise BadInput(f"--address: {address!r} is not host:port", hint="like --address fleet.example:7443")
