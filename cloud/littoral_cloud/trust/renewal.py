"""Makes the next CA or the next signing key: its folder first, its entry in the ledger next. Nothing is issued with it yet.

A process that is killed between the two leaves a folder that no document names. Nothing uses it; the next call introduces it.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from littoral.errors import BadInput, NotFound, Untrusted
from littoral.identity import key_id_of
from littoral.trust_anchors import introduce_key, retire_key
from littoral_cloud.fleet.anchors import (
    ID,
    KIND,
    FleetAnchors,
    check_no_next,
    read_anchors,
    with_authority,
    with_retired_key,
    with_signing_key,
)
from littoral_cloud.fleet.key_records import SigningKeyRecord
from littoral_cloud.fleet.ledger import Audit, Change, Ledger, Write
from littoral_cloud.fleet.records import dump
from littoral_cloud.trust.ca import CertificateAuthority, open_ca
from littoral_cloud.trust.command_key import KeyCommand
from littoral_cloud.trust.files import create_folder
from littoral_cloud.trust.given_keys import GivenCa, made_ca, made_signing_key
from littoral_cloud.trust.signing import IntroducedSigningKey, open_signing_key
from littoral_cloud.trust.store import Trust

MOST_OVERLAP_S = 366 * 24 * 3600.0


async def renew_ca(
    ledger: Ledger,
    trust: Trust,
    now: float,
    overlap_s: float,
    actor: str,
    given: GivenCa | None = None,
    *,
    replaces: bool = False,
) -> FleetAnchors:
    """Introduces the next CA of the fleet.

    Args:
        overlap_s: see littoral_cloud.fleet.anchors.
        given: what it is made of; None: of nothing but chance.
        replaces: in place of one that is introduced and not in force yet, as when its key was lost.

    Raises:
        Conflict: one is introduced already, or another process was first. Untrusted: the key of the CA in force is not here.
        BadInput: the overlap is out of range, or what is given cannot be the next CA. CommandFailed.
    """
    anchors, generation = await _anchors(ledger, trust, overlap_s)
    anchors = anchors.in_force if replaces else anchors
    check_no_next(anchors.next_authority)
    command, made_before = trust.commands.ca, {each.fingerprint for each in anchors.authorities}

    def is_known(place: Path) -> bool:
        return open_ca(place, now, command).fingerprint in made_before

    folder = _next_folder(trust.folder, "ca", len(anchors.authorities), is_known, new=replaces)
    made = await asyncio.to_thread(_made_ca, folder, given or GivenCa(), now, trust)  # a command may sign
    after = with_authority(anchors, made.record(0), now)
    details = {"in_force": trust.ca.fingerprint, "overlap_s": overlap_s}
    await _write(ledger, after, generation, Audit("fleet.ca-introduced", made.fingerprint, actor, details))
    return after


async def renew_signing_key(
    ledger: Ledger,
    trust: Trust,
    now: float,
    overlap_s: float,
    actor: str,
    public_key: Path | None = None,
    *,
    replaces: bool = False,
) -> FleetAnchors:
    """Introduces the next signing key of the fleet; as `renew_ca`.

    Args:
        public_key: PEM, of a key behind the command; None: it is made now.
    """
    anchors, generation = await _anchors(ledger, trust, overlap_s)
    anchors = anchors.keys_in_force if replaces else anchors
    check_no_next(anchors.next_signing_key)
    command, made_before = trust.commands.signing, {each.key_id for each in anchors.signing_keys}

    def is_known(place: Path) -> bool:
        return open_signing_key(place, command).key_id in made_before

    folder = _next_folder(trust.folder, "signing", len(anchors.signing_keys), is_known, new=replaces)
    made = await asyncio.to_thread(_made_signing_key, folder, public_key, trust)
    after = with_signing_key(anchors, made.record(0), now)
    details = {"in_force": trust.signing_key_id, "overlap_s": overlap_s}
    await _write(ledger, after, generation, Audit("fleet.signing-key-introduced", made.key_id, actor, details))
    return after


def _made_ca(folder: Path, given: GivenCa, now: float, trust: Trust) -> CertificateAuthority:
    if not folder.exists():
        _, files = made_ca(given, now, trust.commands.ca, trust.ca)
        create_folder(folder, files)
    return open_ca(folder, now, trust.commands.ca)


def _made_signing_key(folder: Path, public_key: Path | None, trust: Trust) -> IntroducedSigningKey:
    if not folder.exists():
        key, files = made_signing_key(public_key, trust.commands.signing)
        introduction = introduce_key(key.public_key().public_bytes_raw(), trust.signing_key)
        create_folder(folder, {**files, **IntroducedSigningKey(key, introduction).files})
    return open_signing_key(folder, trust.commands.signing)


async def retire_signing_key(ledger: Ledger, trust: Trust, wanted: str, actor: str) -> FleetAnchors:
    """Nodes drop a former signing key, and all that it introduced but what the fleet has.

    Args:
        wanted: its id, or the beginning of it.

    Raises NotFound, BadInput where several are meant, Conflict where it is in force, Untrusted where the key in force is missing.
    """
    anchors, generation = await _anchors(ledger, trust, trust.anchors.overlap_s)
    record = named_signing_key(anchors, wanted)
    retirement = await asyncio.to_thread(retire_key, base64.b64decode(record.public_key), trust.signing_key)
    after = with_retired_key(anchors, record.key_id, retirement.decode())
    await _write(ledger, after, generation, Audit("fleet.signing-key-retired", record.key_id, actor))
    return after


def named_signing_key(anchors: FleetAnchors, wanted: str) -> SigningKeyRecord:
    """By its id, or the beginning of it. Raises NotFound, BadInput where several are meant."""
    found = [each for each in anchors.signing_keys if wanted and each.key_id.startswith(wanted.lower())]
    if not found:
        raise NotFound(f"fleet: no signing key is {wanted[:64]!r}", hint="see `littoral-cloud fleet show`")
    if len(found) > 1:
        raise BadInput(f"fleet: {len(found)} signing keys are {wanted[:64]!r}", hint="give more of the id")
    return found[0]


def init_ca(folder: Path, now: float, given: GivenCa, command: KeyCommand | None) -> tuple[CertificateAuthority, Path]:
    """Makes the first CA of a fleet that has none yet, in FOLDER/ca. Raises as `renew_ca`."""
    place = folder / "ca"
    _check_free(place, "renew-ca")
    made, files = made_ca(given, now, command)
    if not create_folder(place, files):
        _check_free(place, "renew-ca")
    return made, place


def init_signing_key(folder: Path, public_key: Path | None, command: KeyCommand | None) -> tuple[str, Path]:
    """Makes the first signing key of a fleet that has none yet, in FOLDER/signing; gives its id. Raises as `renew_ca`."""
    place = folder / "signing"
    _check_free(place, "renew-signing-key")
    key, files = made_signing_key(public_key, command)
    if not create_folder(place, files):
        _check_free(place, "renew-signing-key")
    return key_id_of(key.public_key().public_bytes_raw()), place


def _check_free(place: Path, way: str) -> None:
    if place.exists():
        raise BadInput(f"keys: {place} is there already", hint=f"`littoral-cloud fleet {way}` makes the next one")


def _next_folder(folder: Path, name: str, made: int, is_known: Callable[[Path], bool], *, new: bool) -> Path:
    """Behind the last one. One that is there, and that no document names, a killed command has left: it is used, unless a new one
    is wanted."""
    number = made + 1
    while (place := folder / f"{name}-{number}").exists() and (new or is_known(place)):
        number += 1
    return place


async def _anchors(ledger: Ledger, trust: Trust, overlap_s: float) -> tuple[FleetAnchors, int]:
    if not 0 <= overlap_s <= MOST_OVERLAP_S:
        raise BadInput(f"overlap: {overlap_s:g} s is not from 0 to {MOST_OVERLAP_S:g}", hint="like --overlap 7d")
    if lacks := trust.lacks:
        raise Untrusted(f"keys: {trust.folder} lacks {lacks}", hint="copy the folder from another coordinator, or run this there")
    found, generation = await read_anchors(ledger)
    return replace(found or trust.anchors, overlap_s=overlap_s), generation


async def _write(ledger: Ledger, anchors: FleetAnchors, generation: int, line: Audit) -> None:
    await ledger.commit(Change((Write(KIND, ID, dump(anchors), generation),), (line,)))
