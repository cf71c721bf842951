"""littoral-cloud fleet: the CA, signing key and blobs that make coordinators on one Redis one fleet, and how keys are renewed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from littoral_cloud.cli.command import command
from littoral_cloud.cli.noun import noun
from littoral_cloud.cli.token import seconds
from littoral_cloud.client.fleet_client import FleetClient, part
from littoral_cloud.settings import load_settings
from littoral_cloud.terminal.output import DataDirOption, Format, FormatOption, emit

app = noun("Show or change which keys and blobs are the fleet's.", "littoral-cloud fleet show")

OverlapOption = Annotated[
    str,
    typer.Option(help="After this time (7d, 12h) the new one is in force, also where nodes have not reported that they know it."),
]


CertificateOption = Annotated[
    Path | None,
    typer.Option(help="PEM: the CA's certificate, each issuer behind it, and the root, which nodes pin, last."),
]
KeyOption = Annotated[Path | None, typer.Option(help="PEM: its ECDSA P-256 key. Default: made, or behind the command.")]
ReplaceOption = Annotated[
    bool, typer.Option("--replace", help="In place of one that is introduced and not in force yet, as when its key was lost.")
]
PublicKeyOption = Annotated[Path | None, typer.Option(help="PEM: the public part of a key that the command has.")]


@command(app, example="fleet show --format json", stranger=True)
async def show(fleet: FleetClient, format: FormatOption = Format.TABLE) -> None:
    """Show the CA, the signing key and the store of blobs of the fleet, and those that this command would use.

    After a renewal also each CA and key, its state, and how many of the accepted nodes know it.
    """
    shown = await fleet.get("/fleet")
    for kind in ("authorities", "signing_keys"):
        rows = shown.pop(kind)
        if rows:
            shown[kind] = [{name: value for name, value in row.items() if value is not None} for row in rows]
    emit(shown, format)


@app.command("init-ca", epilog="Example: littoral-cloud fleet init-ca --certificate chain.pem --key key.pem")
def init_ca_(
    certificate: CertificateOption = None,
    key: KeyOption = None,
    public_key: PublicKeyOption = None,
    data_dir: DataDirOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Make the first CA of a new fleet of a certificate by your own root, or of a key behind LITTORAL_CA_KEY_COMMAND.

    Without this the first start makes a root of its own. docs/keys.md has the commands around it.
    """
    from littoral_cloud.app import key_commands, wall_clock
    from littoral_cloud.trust.given_keys import GivenCa
    from littoral_cloud.trust.renewal import init_ca

    settings = load_settings(data_dir=data_dir)
    given = GivenCa(certificate=certificate, key=key, public_key=public_key)
    made, place = init_ca(settings.keys, wall_clock(), given, key_commands(settings).ca)
    row = {"ca": made.fingerprint, "root": made.root_fingerprint, "folder": place}
    emit(row if format == Format.JSON else f"made {place}: nodes will pin the root {made.root_fingerprint}", format)


@app.command("init-signing-key", epilog="Example: littoral-cloud fleet init-signing-key --public-key public.pem")
def init_signing_key_(
    public_key: PublicKeyOption = None, data_dir: DataDirOption = None, format: FormatOption = Format.TABLE
) -> None:
    """Make the first signing key of a new fleet of a key behind LITTORAL_SIGNING_KEY_COMMAND.

    Without this the first start makes a key in the folder of keys.
    """
    from littoral_cloud.app import key_commands
    from littoral_cloud.trust.renewal import init_signing_key

    settings = load_settings(data_dir=data_dir)
    id, place = init_signing_key(settings.keys, public_key, key_commands(settings).signing)
    emit({"signing_key": id, "folder": place} if format == Format.JSON else f"made {place}: {id[:16]}", format)


@command(app, "renew-ca", example="fleet renew-ca --overlap 14d")
async def renew_ca_(
    fleet: FleetClient,
    overlap: OverlapOption = "7d",
    certificate: CertificateOption = None,
    key: KeyOption = None,
    public_key: PublicKeyOption = None,
    replace: ReplaceOption = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Make the next CA of the fleet, which the CA in force introduces to every node.

    Nodes hear of it in their sessions. It issues certificates once every accepted node knows it, or after the overlap; after
    another overlap nodes drop the one before. A node that was away learns of it when it comes back.
    """
    files = {"certificate": _full(certificate), "key": _full(key), "public_key": _full(public_key)}
    made = await fleet.post("/fleet/next-ca", {"overlap_s": seconds(overlap, "--overlap"), "replaces": replace, **files})
    _emit_made("ca", made, format)


@command(app, "renew-signing-key", example="fleet renew-signing-key")
async def renew_signing_key_(
    fleet: FleetClient,
    overlap: OverlapOption = "7d",
    public_key: PublicKeyOption = None,
    replace: ReplaceOption = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Make the next signing key of the fleet, which the one in force introduces to every node.

    As renew-ca. What earlier keys signed is verified as before.
    """
    body = {"overlap_s": seconds(overlap, "--overlap"), "public_key": _full(public_key), "replaces": replace}
    _emit_made("signing_key", await fleet.post("/fleet/next-signing-key", body), format)


@command(app, "retire-signing-key", example="fleet retire-signing-key 3f9a0c")
async def retire_signing_key_(
    fleet: FleetClient,
    key: Annotated[str, typer.Argument(help="The id of a former signing key, or the first characters of it.")],
    yes: Annotated[bool, typer.Option("--yes", help="Also where nodes lose artifacts that it alone signed.")] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Have nodes drop a signing key that was stolen, once the next one is in force and every model was released again."""
    gone = await fleet.post(f"/fleet/signing-keys/{part(key)}/retire", {"confirmed": yes})
    emit(gone if format == Format.JSON else f"retired {gone['retired'][:16]}: nodes drop it", format)


def _full(path: Path | None) -> str:
    return str(path.resolve()) if path is not None else ""


def _emit_made(what: str, made: Mapping[str, Any], format: Format) -> None:
    if format == Format.JSON:
        emit({what: made["id"], "folder": made["folder"], "in_force_by": made["in_force_by"]}, format)
        return
    emit(f"made {made['folder']}: {made['id'][:16]}, in force by {made['in_force_by']}")
    emit("next: copy this folder to every other coordinator; `littoral-cloud fleet show` says how many nodes know it")


@command(app, "adopt", example="fleet adopt --yes", stranger=True)
async def adopt_(
    fleet: FleetClient,
    yes: Annotated[bool, typer.Option("--yes", help="Do it: nodes with certificates of another CA must enrol again.")] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Make the keys and blobs of this data folder those of the fleet, after a restored backup or a new CA.

    Coordinators that have other ones do not start any more. Restart those that run.
    """
    done = await fleet.post("/fleet/adopt", {"confirmed": yes})
    emit({"was": done["before"], "is": done["after"]}, format)
