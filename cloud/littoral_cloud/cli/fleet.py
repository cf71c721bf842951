"""littoral-cloud fleet: the CA, signing key and blobs that make coordinators on one Redis one fleet, and how keys are renewed."""

from __future__ import annotations

import asyncio
import getpass
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from littoral.errors import BadInput
from littoral_cloud.app import Core, identity_of, key_commands, open_existing, wall_clock
from littoral_cloud.cli.command import command
from littoral_cloud.cli.noun import noun
from littoral_cloud.cli.token import seconds
from littoral_cloud.fleet.anchors import AuthorityRecord, FleetAnchors, SigningKeyRecord, adopted, knowing
from littoral_cloud.fleet.identity import FleetIdentity, adopt, differing, read_identity
from littoral_cloud.fleet.records import Node, load
from littoral_cloud.releases.signed_by import in_use_by
from littoral_cloud.rollouts.wording import first_of
from littoral_cloud.settings import CloudSettings, load_settings
from littoral_cloud.terminal.output import DataDirOption, Format, FormatOption, emit
from littoral_cloud.terminal.text import when
from littoral_cloud.trust.given_keys import GivenCa
from littoral_cloud.trust.renewal import (
    init_ca,
    init_signing_key,
    named_signing_key,
    renew_ca,
    renew_signing_key,
    retire_signing_key,
)

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
PublicKeyOption = Annotated[Path | None, typer.Option(help="PEM: the public part of a key that the command has.")]


@app.command(epilog="Example: littoral-cloud fleet show --format json")
def show(data_dir: DataDirOption = None, format: FormatOption = Format.TABLE) -> None:
    """Show the CA, the signing key and the store of blobs of the fleet, and those that this command would use.

    After a renewal also each CA and key, its state, and how many of the accepted nodes know it.
    """
    asyncio.run(_show(load_settings(data_dir=data_dir), format))


async def _show(settings: CloudSettings, format: Format) -> None:
    async with open_existing(settings, stranger=True) as core:
        known, own = await read_identity(core.ledger), identity_of(core)
        shown = {"fleet": _plain(known), "here": _plain(own), "same": not (known and differing(known, own))}
        if (anchors := core.trust.anchors).number:
            nodes = [load(Node, doc) for doc in await core.ledger.all("node")]
            shown |= {
                "authorities": [_row(each, each.fingerprint, anchors, nodes) for each in anchors.authorities],
                "signing_keys": [_row(each, each.key_id, anchors, nodes) for each in anchors.signing_keys],
            }
    emit(shown, format)


def _row(each: AuthorityRecord | SigningKeyRecord, id: str, anchors: FleetAnchors, nodes: list[Node]) -> dict[str, Any]:
    known, accepted = knowing(nodes, each.number)
    row: dict[str, Any] = {"id": id, "state": _state(each, anchors), "nodes_that_know_it": known, "accepted_nodes": accepted}
    if not each.in_force_at:
        row["in_force_by"] = when(each.introduced_at + anchors.overlap_s)
    return row


def _state(each: AuthorityRecord | SigningKeyRecord, anchors: FleetAnchors) -> str:
    if each in (anchors.authority, anchors.signing_key):
        return "in force"
    if not each.in_force_at:
        return "introduced"
    gone = each.retired_at if isinstance(each, AuthorityRecord) else each.retirement
    return "retired" if gone else "former"


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
    settings = load_settings(data_dir=data_dir)
    id, place = init_signing_key(settings.keys, public_key, key_commands(settings).signing)
    emit({"signing_key": id, "folder": place} if format == Format.JSON else f"made {place}: {id[:16]}", format)


@command(app, "renew-ca", example="fleet renew-ca --overlap 14d")
async def renew_ca_(
    core: Core,
    overlap: OverlapOption = "7d",
    certificate: CertificateOption = None,
    key: KeyOption = None,
    public_key: PublicKeyOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Make the next CA of the fleet, which the CA in force introduces to every node.

    Nodes hear of it in their sessions. It issues certificates once every accepted node knows it, or after the overlap; after
    another overlap nodes drop the one before. A node that was away learns of it when it comes back.
    """
    given = GivenCa(certificate=certificate, key=key, public_key=public_key)
    after = await renew_ca(core.ledger, core.trust, core.clock(), seconds(overlap, "--overlap"), getpass.getuser(), given)
    made = after.authorities[-1]
    _emit_made("ca", made.fingerprint, f"ca-{len(after.authorities)}", core, after, format)


@command(app, "renew-signing-key", example="fleet renew-signing-key")
async def renew_signing_key_(
    core: Core, overlap: OverlapOption = "7d", public_key: PublicKeyOption = None, format: FormatOption = Format.TABLE
) -> None:
    """Make the next signing key of the fleet, which the one in force introduces to every node.

    As renew-ca. What earlier keys signed is verified as before.
    """
    overlap_s = seconds(overlap, "--overlap")
    after = await renew_signing_key(core.ledger, core.trust, core.clock(), overlap_s, getpass.getuser(), public_key)
    _emit_made("signing_key", after.signing_keys[-1].key_id, f"signing-{len(after.signing_keys)}", core, after, format)


@command(app, "retire-signing-key", example="fleet retire-signing-key 3f9a0c")
async def retire_signing_key_(
    core: Core,
    key: Annotated[str, typer.Argument(help="The id of a former signing key, or the first characters of it.")],
    yes: Annotated[bool, typer.Option("--yes", help="Also where nodes lose artifacts that it alone signed.")] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Have nodes drop a signing key that was stolen, once the next one is in force and every model was released again."""
    record = named_signing_key(core.trust.anchors, key)
    if not yes and (used := await in_use_by(core.ledger, core.blobs, record.key_id)):
        raise BadInput(
            f"fleet: nodes use {len(used)} artifacts that it alone signed, and would lose them: {', '.join(first_of(used))}",
            hint="release these again, roll them out, then retire the key; or give --yes",
        )
    await retire_signing_key(core.ledger, core.trust, record.key_id, getpass.getuser())
    emit({"retired": record.key_id} if format == Format.JSON else f"retired {record.key_id[:16]}: nodes drop it", format)


def _emit_made(what: str, id: str, folder: str, core: Core, after: FleetAnchors, format: Format) -> None:
    place = core.trust.folder / folder
    by = when(core.clock() + after.overlap_s)
    if format == Format.JSON:
        emit({what: id, "folder": place, "in_force_by": by}, format)
        return
    emit(f"made {place}: {id[:16]}, in force by {by}")
    emit("next: copy this folder to every other coordinator; `littoral-cloud fleet show` says how many nodes know it")


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
        known = await read_identity(core.ledger)
        if known is None or differing(known, identity_of(core)):
            core.trust.follow(None)  # what Redis says of CAs is another fleet's
        own = identity_of(core)
        if known is not None and differing(known, own) and not yes:
            names = ", ".join(differing(known, own))
            raise BadInput(f"fleet: {names} would change for every coordinator on this Redis", hint="give --yes to do it")
        before = await adopt(core.ledger, own, getpass.getuser(), await adopted(core.ledger, core.trust.anchors))
    emit({"was": _plain(before), "is": _plain(own)}, format)


def _plain(identity: FleetIdentity | None) -> dict[str, str]:
    return {name: value for name, value in asdict(identity).items() if name != "schema"} if identity else {}
