"""The last line of the audit trail, written down outside of Redis: DATA/audit-head.json.

A chain shows that a line was changed. It does not show that its tail was cut off, for the rest is a whole chain. So a file beside
Redis has the id and the chain of a recent line, and that line must stay in the trail for ever. While a coordinator runs, the file
follows a few seconds behind, for a power loss may take the last second of Redis (littoral_cloud.store.embedded). An orderly end
brings it up to date. A line that is not later than a signed checkpoint was archived (littoral_cloud.trust.audit_archive), and
is not missing. Where the line is missing, every start and `audit verify` report it, and the file stays as it is until an
operator moves it away.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from littoral import decoder, json_text
from littoral.errors import BadInput, FleetError
from littoral_cloud.fleet.ledger import Audit, AuditEntry, Change, Ledger
from littoral_cloud.trust.audit_checkpoint import id_key, read_checkpoints
from littoral_cloud.trust.files import write_atomically

log = logging.getLogger(__name__)

BEHIND_S = 3.0
"""So old a line is when it is written down: older than what a power loss may take."""

END_S = 2.0
ACTION = "audit.tail-lost"
_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Mark:
    """A line that was in the trail. `id` is of Redis's stream, `at` when it was written down; seconds since 1970-01-01 UTC."""

    id: str
    chain: str
    at: float


@dataclass(frozen=True, slots=True)
class Witnessed:
    """Args:
    last: the newest line that is known to have been there; None: none was.
    lost: lines that were known, and are not there any more.
    """

    last: Mark | None = None
    lost: tuple[Mark, ...] = ()


class Witness:
    """Args:
    path: of the file.
    clock: seconds since 1970-01-01 UTC.
    trusted: raw Ed25519 public keys by key id, of checkpoints.
    """

    def __init__(self, path: Path, clock: Callable[[], float], trusted: Mapping[str, bytes]) -> None:
        self.path = path
        self._clock = clock
        self._trusted = trusted
        self._kept: tuple[str, str] | None = None  # id and chain of the line that the file has
        self._cut = False  # the trail lacks what the file knows: it is not written until that is in the trail

    def read(self) -> Witnessed:
        """Raises FleetError where the file is damaged."""
        try:
            body = json_text.parse(self.path.read_bytes(), "it")
            if not isinstance(body, dict) or body.pop("sha256", None) != _sum_of(body):
                raise ValueError("its checksum is wrong")
            if (schema := body.pop("schema", None)) != _SCHEMA:
                raise ValueError(f"schema {schema!r}")
            return decoder.decode(Witnessed, body, "it")
        except FileNotFoundError:
            return Witnessed()
        except (OSError, ValueError, BadInput) as error:
            raise FleetError(
                f"{self.path}: is damaged: {error}; nothing outside of Redis says whether the end of the audit trail is there",
                hint="run `littoral-cloud audit verify`, then move the file away: it is made anew",
            ) from error

    async def missing(self, ledger: Ledger) -> tuple[Mark, ...]:
        """Lines that were in the trail, and are neither there nor archived now. Raises FleetError as `read`; Untrusted where a
        checkpoint is not ours."""
        witnessed = self.read()
        if witnessed.last is None or await _there(ledger, witnessed.last) or await self._archived(ledger, witnessed.last):
            return witnessed.lost
        self._cut = True
        return (*witnessed.lost, witnessed.last)

    async def _archived(self, ledger: Ledger, mark: Mark) -> bool:
        """Whether it is in front of a cut, and not the line at the cut with another chain."""
        first = await ledger.audit(count=1)
        if first and id_key(first[0].id) <= id_key(mark.id):
            return False  # another line has its id, or it is missing between others
        checkpoints = await read_checkpoints(ledger, self._trusted)
        at = next((each for each in checkpoints if id_key(mark.id) <= id_key(each.last)), None)
        return at is not None and (mark.id != at.last or mark.chain == at.chain)

    async def look(self, ledger: Ledger) -> None:
        """At a start: reports that the end of the trail is missing. Only coordinators and `audit verify` report what a
        coordinator has written into the trail since."""
        try:
            missing = await self.missing(ledger)
        except FleetError as error:
            self._cut = True
            log.error("audit: %s", error)
            return
        if self._cut:
            log.error("%s", words(missing, self.path))

    async def follow(self, ledger: Ledger) -> None:
        """Keeps the file a few seconds behind the trail, until cancelled. That the trail's end was cut off it writes there,
        once."""
        before: AuditEntry | None = None
        if not self._cut and (lost := self.read().lost):
            log.error("%s", words(lost, self.path))
        while True:
            try:
                await self._into_the_trail(ledger)
                newest = await ledger.audit_last()
                if before is not None:
                    self._keep(before)
                before = newest
            except (FleetError, OSError) as error:
                log.warning("audit: %s is not written: %s", self.path, error)
            await asyncio.sleep(BEHIND_S)

    async def end(self, ledger: Ledger) -> None:
        """In good order: the newest line is written down."""
        try:
            async with asyncio.timeout(END_S):
                if (newest := await ledger.audit_last()) is not None:
                    self._keep(newest)
        except (FleetError, OSError, TimeoutError) as error:
            log.warning("audit: %s is not written: %s", self.path, error or "Redis does not answer")

    async def _into_the_trail(self, ledger: Ledger) -> None:
        if not self._cut:
            return
        try:
            witnessed = self.read()
        except FleetError:
            return  # reported at the start; the file stays as it is
        if witnessed.last is None:
            return
        details = {"id": witnessed.last.id, "chain": witnessed.last.chain, "written_down_at": witnessed.last.at}
        await ledger.commit(Change((), (Audit(ACTION, witnessed.last.id, "coordinator", details),)))
        self._write(Witnessed(None, (*witnessed.lost, witnessed.last)))
        self._cut = False

    def _keep(self, entry: AuditEntry) -> None:
        if self._cut or (entry.id, entry.chain) == self._kept:
            return
        witnessed = self.read()
        self._kept = (entry.id, entry.chain)
        if witnessed.last is None or (witnessed.last.id, witnessed.last.chain) != (entry.id, entry.chain):
            self._write(Witnessed(Mark(entry.id, entry.chain, self._clock()), witnessed.lost))

    def _write(self, kept: Witnessed) -> None:
        body: dict[str, object] = {"schema": _SCHEMA, **decoder.plain(kept)}
        body["sha256"] = _sum_of(body)
        write_atomically(self.path, json.dumps(body, indent=1).encode() + b"\n", synced=True)


def words(missing: tuple[Mark, ...], path: Path) -> str:
    listed = ", ".join(f"{mark.id} (chain {mark.chain[:16]})" for mark in missing)
    return (
        f"audit: the end of the trail was cut off: it had line {listed}, which is not there any more; what was written at that "
        f"time is gone from Redis, too: compare with a backup of it ({path} keeps what it knew until you move it away)"
    )


def _sum_of(body: Mapping[str, object]) -> str:
    """Tells a bit that the disk turned from a trail that was cut."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


async def _there(ledger: Ledger, mark: Mark) -> bool:
    found = await ledger.audit(after=_before(mark.id), count=1)
    return bool(found) and (found[0].id, found[0].chain) == (mark.id, mark.chain)


def _before(id: str) -> str:
    """The greatest id of a stream that is less than this one."""
    at, _, sequence = id.partition("-")
    return f"{at}-{int(sequence) - 1}" if int(sequence) else f"{max(0, int(at) - 1)}-{2**64 - 1}"
