"""The journal of one model: which artifacts are committed, and how far its update is.

Both files are replaced whole (write, fsync, rename). A damaged file is reported and moved aside. Then the content of slots.json
is found elsewhere, and checked like any artifact before it serves:

    1. in update.json: an update that succeeded names the active artifact; any other names the one that it would have replaced
    2. where that is damaged too, in the crash record: what the agent loaded last (littoral_node.supervision.crash_record)
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from littoral.decoder import plain
from littoral.digest import check_digest
from littoral.errors import FleetError
from littoral_node.identity.files import SCHEMA, Damaged, ignore_damage, put_aside, read_record, write_json, write_record
from littoral_node.update.state import ModelUpdateState, Update


@dataclass(frozen=True, slots=True)
class CommittedSlots:
    """Manifest digests; empty: none. `active` passed probation and serves after a restart; `previous` is the way back."""

    active: str = ""
    previous: str = ""

    def check_decoded(self) -> None:
        for digest in filter(None, (self.active, self.previous)):
            check_digest(digest)


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """`clean`: the agent ended in good order after it wrote this."""

    update: Update
    clean: bool

    def check_decoded(self) -> None:
        check_digest(self.update.manifest_digest)


class UpdateJournal:
    """Of one model.

    Args:
        folder: DIR/models/NAME; made where it is not there.
        damaged: called with each file that cannot be read.
    """

    def __init__(self, folder: Path, damaged: Damaged = ignore_damage) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._damaged = damaged
        self.lost = False  # the active artifact stood here and cannot be read any more
        self._slots = folder / "slots.json"
        self._update = folder / "update.json"

    def committed(self) -> CommittedSlots:
        try:
            if (committed := read_record(CommittedSlots, self._slots)) is not None:
                return committed
            why: Exception | None = None
        except FleetError as error:
            why = error
            put_aside(self._slots)
        found = self._committed_by_update()
        if found.active and why is None:
            why = FleetError("is missing")
        if why is not None:
            self._damaged(self._slots, why)
        if found.active:
            with suppress(OSError):  # a full disk, or one that takes no write: the next start finds it again
                self.commit(found)
        self.lost = why is not None and not found.active
        return found

    def _committed_by_update(self) -> CommittedSlots:
        """What update.json tells of the content of slots.json."""
        if (entry := self.read()) is None:
            return CommittedSlots()
        update = entry.update
        if update.state is ModelUpdateState.SUCCEEDED:
            return CommittedSlots(update.manifest_digest, update.replaces if update.replaces != update.manifest_digest else "")
        return CommittedSlots(update.replaces)

    def commit(self, committed: CommittedSlots) -> None:
        write_record(self._slots, committed)

    def read(self) -> JournalEntry | None:
        try:
            if (entry := read_record(JournalEntry, self._update)) is None and self._slots.exists():
                self._damaged(self._update, "is missing")  # what is active came by an update
            return entry
        except FleetError as error:
            self._damaged(self._update, error)
            put_aside(self._update)
            return None

    def write(self, update: Update, *, clean: bool = False) -> None:
        """On the disk when this returns. Leaves the deadline out: its clock ends with the boot."""
        body = plain(JournalEntry(replace(update, deadline=0.0), clean))
        del body["update"]["deadline"]
        write_json(self._update, {"schema": SCHEMA, **body})
