"""Whether the audit trail is whole: from the newest checkpoint on, and with the archived files from its first line on."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from littoral.errors import BadInput, NotFound, Untrusted
from littoral_cloud.fleet.ledger import AuditEntry, Ledger, trail
from littoral_cloud.trust.audit_archive import check_file
from littoral_cloud.trust.audit_chain import GENESIS, verify
from littoral_cloud.trust.audit_checkpoint import AuditCheckpoint, id_key, read_checkpoints
from littoral_cloud.trust.audit_files import read_lines

HINT = "compare with a backup of Redis"


@dataclass(frozen=True, slots=True)
class Checked:
    """A whole trail. `lines`: in Redis; `archived`: in front of those; `files`: that were read for it; `head`: the last chain."""

    lines: int
    archived: int
    files: int
    head: str


async def check_trail(ledger: Ledger, trusted: Mapping[str, bytes], *, wanted: str = "", folder: Path | None = None) -> Checked:
    """Verifies the chain of all lines in Redis, on from the newest checkpoint in front of them.

    Args:
        trusted: raw Ed25519 public keys by key id.
        wanted: a head that must be in the trail; "": any.
        folder: where archived files lie that are not where they were written; None: files are not read.

    Raises Untrusted where a line, a checkpoint or a file is not what it was, NotFound where a file is not here.
    """
    while True:
        checkpoints = await read_checkpoints(ledger, trusted)
        try:
            return await _check(ledger, checkpoints, wanted, folder)
        except Untrusted:
            if len(await read_checkpoints(ledger, trusted)) == len(checkpoints):
                raise  # else lines were cut while they were read


async def _check(ledger: Ledger, checkpoints: Sequence[AuditCheckpoint], wanted: str, folder: Path | None) -> Checked:
    first = await ledger.audit(count=1)
    cut = [each for each in checkpoints if not first or id_key(each.last) < id_key(first[0].id)]
    seen = wanted in ("", GENESIS, *(each.chain for each in checkpoints))
    if folder is not None:
        for each in cut:
            seen = await asyncio.to_thread(_check_archived, each, folder, wanted) or seen
    chain, count, last = (cut[-1].chain, 0, cut[-1].last) if cut else (GENESIS, 0, "-")
    signed = {each.last: each.chain for each in checkpoints}
    async for entry in trail(ledger):
        if verify([entry], chain) is not None or signed.get(entry.id, entry.chain) != entry.chain:
            raise Untrusted(
                f"audit: line {count + 1} ({entry.id}, {entry.action} {entry.subject}) was changed, or lines before it are gone",
                hint=f"{HINT}; nothing before this line is affected",
            )
        chain, count, last = entry.chain, count + 1, entry.id
        seen = seen or chain == wanted
    if await ledger.audit_head() != chain and not [entry async for entry in trail(ledger, last)]:
        raise Untrusted("audit: lines at the end are gone", hint=HINT)
    if not seen:
        raise _not_seen(wanted, unread=bool(cut) and folder is None)
    return Checked(count, cut[-1].lines_until if cut else 0, len(cut) if folder is not None else 0, chain)


def _not_seen(wanted: str, *, unread: bool) -> Untrusted:
    if unread:
        return Untrusted(f"audit: no line in Redis has the chain {wanted}", hint="give --archived: it may be in an archived file")
    return Untrusted(f"audit: no line has the chain {wanted}: the trail was written anew", hint="compare with a backup")


async def archived_about(
    ledger: Ledger, trusted: Mapping[str, bytes], folder: Path, subjects: Collection[str]
) -> list[AuditEntry]:
    """Lines of these subjects that were cut, oldest first, from the files that are here.

    Raises Untrusted where a checkpoint is not signed by us, or a file cannot be read.
    """
    first = await ledger.audit(count=1)
    found: list[AuditEntry] = []
    for each in await read_checkpoints(ledger, trusted):
        cut = not first or id_key(each.last) < id_key(first[0].id)
        if cut and (place := where_it_is(each, folder)) is not None:
            found += await asyncio.to_thread(_about, place, subjects)
    return found


def _about(place: Path, subjects: Collection[str]) -> list[AuditEntry]:
    try:
        return list(read_lines(place, subjects))
    except (OSError, EOFError, zlib.error, BadInput) as error:
        raise Untrusted(f"audit: {place} cannot be read: {error}", hint="put it back from a backup") from error


def where_it_is(checkpoint: AuditCheckpoint, folder: Path) -> Path | None:
    """The file of a checkpoint: where it was written, or in this folder; None: in none of both."""
    places: Sequence[Path] = (Path(checkpoint.folder, checkpoint.file), folder / checkpoint.file)
    return next((place for place in places if place.is_file()), None)


def _check_archived(checkpoint: AuditCheckpoint, folder: Path, wanted: str) -> bool:
    """Whether the wanted chain is in it."""
    place = where_it_is(checkpoint, folder)
    if place is None:
        raise NotFound(
            f"audit: {checkpoint.file} is not in {checkpoint.folder}, nor in {folder}",
            hint=f"it was written there; put it into {folder}, or run the command where it is",
        )
    check_file(checkpoint, place)
    try:
        return bool(wanted) and any(entry.chain == wanted for entry in read_lines(place))
    except (OSError, EOFError, zlib.error, BadInput) as error:
        raise Untrusted(f"audit: {place} cannot be read: {error}", hint="put it back from a backup") from error
