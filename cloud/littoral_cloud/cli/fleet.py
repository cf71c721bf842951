"""littoral-cloud fleet: which CA, signing key and blobs make the coordinators on one Redis one fleet."""

from __future__ import annotations

import asyncio
import getpass
from dataclasses import asdict
from typing import Annotated

import typer

from littoral.errors import BadInput
from littoral_cloud.app import identity_of, open_existing
from littoral_cloud.cli.noun import noun
from littoral_cloud.fleet.identity import FleetIdentity, adopt, differing, read_identity
from littoral_cloud.settings import CloudSettings, load_settings
from littoral_cloud.terminal.output import DataDirOption, Format, FormatOption, emit

app = noun("Show or change which keys and blobs are the fleet's.", "littoral-cloud fleet show")


@app.command(epilog="Example: littoral-cloud fleet show --format json")
def show(data_dir: DataDirOption = None, format: FormatOption = Format.TABLE) -> None:
    """Show the CA, the signing key and the store of blobs of the fleet, and those that this command would use."""
    asyncio.run(_show(load_settings(data_dir=data_dir), format))


async def _show(settings: CloudSettings, format: Format) -> None:
    async with open_existing(settings, stranger=True) as core:
        known, own = await read_identity(core.ledger), identity_of(core)
    emit({"fleet": _plain(known), "here": _plain(own), "same": not (known and differing(known, own))}, format)


@app.command("adopt", epilog="Example: littoral-cloud fleet adopt --yes")
def adopt_(
    yes: Annotated[bool, typer.Option("--yes", help="Do it: nodes with certificates of another CA must enrol again.")] = False,
    data_dir: DataDirOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Make the keys and blobs of this data folder those of the fleet, after a restored backup or a new CA.

    Coordinators that have other ones do not start any more. Restart those that run.
    """
    asyncio.run(_adopt(load_settings(data_dir=data_dir), yes, format))


async def _adopt(settings: CloudSettings, yes: bool, format: Format) -> None:
    async with open_existing(settings, stranger=True) as core:
        known, own = await read_identity(core.ledger), identity_of(core)
        if known is not None and differing(known, own) and not yes:
            names = ", ".join(differing(known, own))
            raise BadInput(f"fleet: {names} would change for every coordinator on this Redis", hint="give --yes to do it")
        before = await adopt(core.ledger, own, getpass.getuser())
    emit({"was": _plain(before), "is": _plain(own)}, format)


def _plain(identity: FleetIdentity | None) -> dict[str, str]:
    return {name: value for name, value in asdict(identity).items() if name != "schema"} if identity else {}
