"""littoral-cloud login: from now on the commands of this user ask a coordinator elsewhere."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from littoral_cloud.cli.noun import noun
from littoral_cloud.client.fleet_client import client_of
from littoral_cloud.client.profile import LoginProfile, checked_url, write_profile
from littoral_cloud.terminal.output import Format, FormatOption, emit

app = noun("Use the fleet of a coordinator on another machine.")


@app.command(epilog="Example: littoral-cloud login https://fleet.example.org:7445 --ca-file ca.pem < token.txt")
def login(
    url: Annotated[str, typer.Argument(help="Where the coordinator's operator API listens.")],
    ca_file: Annotated[
        Path | None, typer.Option(help="The certificate of the fleet's CA, PEM. Default: the system's authorities.")
    ] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Check a token, read from standard input, and write it to your profile, which only you can read."""
    url = checked_url(url, "URL")
    token = typer.prompt("Token", hide_input=True) if sys.stdin.isatty() else sys.stdin.readline()
    profile = LoginProfile(url=url, token=token.strip(), ca_pem=ca_file.read_text() if ca_file else "")
    who = asyncio.run(_who(profile))
    path = write_profile(profile)
    words = f"you are {who['name']}, {who['role']}, at {profile.url}; written to {path}"
    emit({**who, "url": profile.url, "profile": str(path)} if format == Format.JSON else words, format)


async def _who(profile: LoginProfile) -> dict[str, str]:
    async with client_of(profile) as client:
        found: dict[str, str] = await client.get("/whoami")
        return found
