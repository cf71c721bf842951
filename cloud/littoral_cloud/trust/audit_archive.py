"""Cuts the beginning of the audit trail, once it lies in a file and a signed checkpoint says so.

Steps for each file, in order:

    WRITTEN   the lines are in a file, whole and on disk
    CHECKED   the file was read again: its chain goes on from the checkpoint before, and it holds every line
    SIGNED    the checkpoint lies beside the file
    RECORDED  the checkpoint stands in the ledger, with a line "audit.archived" in the trail
    CUT       the lines left Redis, in one script that first compares the line at the cut with the checkpoint

One process at a time works (the lease goes with RECORDED). Killed between any two steps, the next call goes on: a file without a
checkpoint is deleted, for all of its lines are in the trail; a file with a checkpoint that the ledger lacks is recorded; a
recorded checkpoint whose lines are still in the trail is cut. Lines are never in fewer places than before.

Example: 90 days stay in Redis and a coordinator archives once a day. Each file holds a day, and `audit verify --archived`
reads all files and the trail as one chain.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from littoral.errors import Untrusted
from littoral_cloud.fleet.ledger import Audit, AuditEntry, Change, Fence, Ledger, Write
from littoral_cloud.fleet.records import dump
from littoral_cloud.trust.audit_chain import GENESIS, verify
from littoral_cloud.trust.audit_checkpoint import (
    KIND,
    AuditCheckpoint,
    SignedAuditCheckpoint,
    checkpoint_id,
    id_key,
    read_checkpoints,
)
from littoral_cloud.trust.audit_files import PARTIAL, SUFFIX, Content, LinesWriter, read_content, write_whole
from littoral_cloud.trust.witness import Witness, words

LEASE = "retention"
ACTION = "audit.archived"
FOLDER = "audit"
"""In the data folder."""

PAGE = 1000
MOST_LINES = 100_000
"""In one file: Redis answers no other call while they are cut."""


class ArchiveStep(StrEnum):
    WRITTEN = "WRITTEN"
    CHECKED = "CHECKED"
    SIGNED = "SIGNED"
    RECORDED = "RECORDED"
    CUT = "CUT"


def nothing(step: ArchiveStep, checkpoint: AuditCheckpoint | None) -> None:
    """For who needs to know of no step."""


class CheckpointTrust(Protocol):
    """What is needed of littoral_cloud.trust.store.Trust."""

    @property
    def signing_key(self) -> Ed25519PrivateKey: ...
    def signing_keys(self) -> Mapping[str, bytes]: ...


@dataclass(frozen=True, slots=True)
class AuditArchive:
    """Args:
    folder: of the files.
    witness: it must know of no line that is missing; else nothing is cut.
    clock: seconds since 1970-01-01 UTC.
    passed: called after each step, with the checkpoint from SIGNED on.
    most_lines: in one file.
    """

    ledger: Ledger
    folder: Path
    trust: CheckpointTrust
    witness: Witness
    clock: Callable[[], float]
    passed: Callable[[ArchiveStep, AuditCheckpoint | None], None] = nothing
    most_lines: int = MOST_LINES

    @property
    def trusted(self) -> Mapping[str, bytes]:
        return self.trust.signing_keys()

    async def archive(self, before: float, fence: Fence, *, actor: str) -> tuple[AuditCheckpoint, ...]:
        """Archives and cuts every line before the first one that is not older than `before` (seconds since 1970); gives the
        checkpoints that it cut at, oldest first. The caller holds the lease.

        Raises:
            Untrusted: the trail, a checkpoint or a file is not what it must be: nothing more is cut.
            NoSpace, BadInput: the folder cannot be written. LostLease: another process works. Unavailable: Redis is away.
        """
        if missing := await self.witness.missing(self.ledger):
            raise Untrusted(words(missing, self.witness.path), hint="nothing was cut: compare with a backup of Redis")
        done = await self._finish(fence, actor)
        newest = await self.ledger.audit_last()
        while newest is not None:  # lines that this writes itself stay
            known = await read_checkpoints(self.ledger, self.trusted)
            made = await self._make(known[-1] if known else None, before, newest.id)
            if made is None:
                break
            await self._record(made, fence, actor)
            await self._cut(made)
            done.append(made)
        return tuple(done)

    async def _finish(self, fence: Fence, actor: str) -> list[AuditCheckpoint]:
        """Goes on where a call before was killed."""
        known = await read_checkpoints(self.ledger, self.trusted)
        done = []
        if known and await self._uncut(known[-1]):
            place = Path(known[-1].folder, known[-1].file)
            await asyncio.to_thread(check_file, known[-1], place)
            await self._cut(known[-1])
            done.append(known[-1])
        left = await asyncio.to_thread(self._left_behind, known[-1] if known else None)
        if left is not None and await self._uncut(left):
            await self._record(left, fence, actor)
            await self._cut(left)
            done.append(left)
        return done

    async def _uncut(self, checkpoint: AuditCheckpoint) -> bool:
        first = await self.ledger.audit(count=1)
        return bool(first) and id_key(first[0].id) <= id_key(checkpoint.last)

    def _left_behind(self, known: AuditCheckpoint | None) -> AuditCheckpoint | None:
        """A signed checkpoint that goes on from the one that is known, with its file. Deletes files that have none."""
        number = known.number + 1 if known else 1
        found = None
        for place in sorted(self.folder.glob(f"audit-{number:06d}-*{SUFFIX}")):
            try:
                beside = AuditCheckpoint.open(checkpoint_place(place).read_bytes(), self.trusted)
            except FileNotFoundError:
                place.unlink()
                continue
            if (beside.number, beside.previous, beside.file) == (number, known.chain if known else GENESIS, place.name):
                check_file(beside, place)
                found = beside
        for partial in self.folder.glob(f".audit-*{PARTIAL}"):
            partial.unlink()
        return found

    async def _make(self, known: AuditCheckpoint | None, before: float, newest: str) -> AuditCheckpoint | None:
        number = known.number + 1 if known else 1
        after, previous = (known.last, known.chain) if known else ("-", GENESIS)
        page, more = await self._page(after, before, newest, self.most_lines)
        if not page:
            return None
        chain, lines = previous, 0
        with await asyncio.to_thread(LinesWriter, self.folder, number) as writer:
            while page:
                await asyncio.to_thread(_add, writer, page, chain)
                chain, lines, last = page[-1].chain, lines + len(page), page[-1].id
                page, more = await self._page(last, before, newest, self.most_lines - lines) if more else ([], False)
            place = await asyncio.to_thread(writer.publish)
        self.passed(ArchiveStep.WRITTEN, None)
        content = await asyncio.to_thread(read_content, place, previous)
        if (content.last, content.chain, content.lines) != (last, chain, lines):
            raise Untrusted(f"audit: {place} does not hold what was written", hint="check this disk")
        self.passed(ArchiveStep.CHECKED, None)
        made = self._checkpoint(number, content, previous, known.lines_until if known else 0, place)
        sealed = await asyncio.to_thread(made.seal, self.trust.signing_key)  # a command may sign
        await asyncio.to_thread(write_whole, checkpoint_place(place), sealed)
        self.passed(ArchiveStep.SIGNED, made)
        return made

    async def _page(self, after: str, before: float, newest: str, most: int) -> tuple[list[AuditEntry], bool]:
        """Lines older than `before`, up to the newest one, and whether more may follow."""
        page = await self.ledger.audit(after=after, count=min(PAGE, most)) if most else []
        old = next((n for n, entry in enumerate(page) if entry.at >= before or id_key(entry.id) > id_key(newest)), len(page))
        return list(page[:old]), bool(page) and old == len(page)

    def _checkpoint(self, number: int, content: Content, previous: str, lines_before: int, place: Path) -> AuditCheckpoint:
        return AuditCheckpoint(
            number=number,
            first=content.first,
            last=content.last,
            previous=previous,
            chain=content.chain,
            lines=content.lines,
            lines_before=lines_before,
            file=place.name,
            folder=str(self.folder.absolute()),
            sha256=content.sha256,
            file_bytes=content.bytes,
            at=self.clock(),
        )

    async def _record(self, made: AuditCheckpoint, fence: Fence, actor: str) -> None:
        details = {name: getattr(made, name) for name in ("first", "last", "lines", "chain", "sha256")}
        sealed = await asyncio.to_thread(made.seal, self.trust.signing_key)
        document = SignedAuditCheckpoint(envelope=sealed.decode())
        write = Write(KIND, checkpoint_id(made.number), dump(document), 0, quiet=True)
        await self.ledger.commit(Change((write,), (Audit(ACTION, made.file, actor, details),)), fence=fence)
        self.passed(ArchiveStep.RECORDED, made)

    async def _cut(self, made: AuditCheckpoint) -> None:
        await self.ledger.cut_audit(made.last, made.chain)
        self.passed(ArchiveStep.CUT, made)


def checkpoint_place(file: Path) -> Path:
    """Of the signed checkpoint beside a file of lines."""
    return file.with_name(file.name.removesuffix(SUFFIX) + ".checkpoint.json")


def check_file(checkpoint: AuditCheckpoint, place: Path) -> None:
    """Raises Untrusted where the file is not the one that was signed."""
    found = read_content(place, checkpoint.previous)
    signed = (checkpoint.first, checkpoint.last, checkpoint.chain, checkpoint.lines, checkpoint.sha256, checkpoint.file_bytes)
    if (found.first, found.last, found.chain, found.lines, found.sha256, found.bytes) != signed:
        raise Untrusted(f"audit: {place} is not the file of checkpoint {checkpoint.number}", hint="put it back from a backup")


def _add(writer: LinesWriter, page: Sequence[AuditEntry], chain: str) -> None:
    """Raises Untrusted where the page does not go on from this chain."""
    if (broken := verify(page, chain)) is not None:
        line = broken.entry
        raise Untrusted(
            f"audit: line {line.id} ({line.action} {line.subject}) was changed, or lines before it are gone",
            hint="nothing was cut: compare with a backup of Redis",
        )
    writer.add(page)
