"""What one model's folder remembers: which artifacts are active and kept, and how far its update is.

Both files are replaced whole (write, fsync, rename). A file that is damaged is named and put aside, not followed. What slots.json
said is found in update.json then: an update that succeeded names what is active, and any other what it would have replaced;
where that is damaged as well, what the agent had loaded last (littoral_node.supervision.crashes). What is found so is checked
like anything else
before it serves.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from littoral.digest import check_digest
from littoral.errors import FleetError
from littoral_node.identity.folder import Damaged, put_aside, read_json, unsaid, write_json
from littoral_node.update.state import Findings, ModelUpdateState, ProbationPolicy, Update

_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class CommittedSlots:
    """Manifest digests; empty: none. `active` passed probation and serves after a restart; `previous` is kept to go back to."""

    active: str = ""
    previous: str = ""


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """`clean`: the agent ended in good order after it wrote this."""

    update: Update
    clean: bool


class UpdateJournal:
    """Of one model.

    Args:
        folder: DIR/models/NAME; made where it is not there.
        damaged: told of what cannot be read.
    """

    def __init__(self, folder: Path, damaged: Damaged = unsaid) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._damaged = damaged
        self.lost = False  # what was active stood here, and cannot be read any more
        self._slots = folder / "slots.json"
        self._update = folder / "update.json"

    def kept(self) -> CommittedSlots:
        try:
            if (body := _read(self._slots)) is not None:
                kept = CommittedSlots(str(body["active"]), str(body["previous"]))
                for digest in filter(None, (kept.active, kept.previous)):
                    check_digest(digest)
                return kept
            why: Exception | None = None
        except (KeyError, FleetError) as error:
            why = error
            put_aside(self._slots)
        found = self._kept_by_update()
        if found.active and why is None:
            why = FleetError("is missing")
        if why is not None:
            self._damaged(self._slots, why)
        if found.active:
            with suppress(OSError):  # a full disk, or one that takes no write: the next start finds it again
                self.keep(found)
        self.lost = why is not None and not found.active
        return found

    def _kept_by_update(self) -> CommittedSlots:
        """What update.json says of what slots.json said."""
        if (entry := self.read()) is None:
            return CommittedSlots()
        update = entry.update
        if update.state is ModelUpdateState.SUCCEEDED:
            return CommittedSlots(update.manifest_digest, update.replaces if update.replaces != update.manifest_digest else "")
        return CommittedSlots(update.replaces)

    def keep(self, kept: CommittedSlots) -> None:
        write_json(self._slots, {"schema": _SCHEMA, **asdict(kept)})

    def read(self) -> JournalEntry | None:
        try:
            if (body := _read(self._update)) is None:
                if self._slots.exists():  # what is active came by an update
                    self._damaged(self._update, "is missing")
                return None
            raw: dict[str, Any] = dict(body["update"])
            raw["state"] = ModelUpdateState(raw["state"])
            raw["policy"] = ProbationPolicy(**raw["policy"])
            raw["findings"] = Findings(**raw["findings"]) if raw["findings"] else None
            update = Update(**raw)
            check_digest(update.manifest_digest)
            return JournalEntry(update, bool(body["clean"]))
        except (KeyError, TypeError, ValueError, FleetError) as error:
            self._damaged(self._update, error)
            put_aside(self._update)
            return None

    def write(self, update: Update, *, clean: bool = False) -> None:
        """On the disk when this returns. The deadline is left out: it stands on a clock that ends with the boot."""
        body = asdict(replace(update, deadline=0.0))
        del body["deadline"]
        write_json(self._update, {"schema": _SCHEMA, "clean": clean, "update": body})


def _read(path: Path) -> dict[str, Any] | None:
    """None where there is none. Raises FleetError where it is damaged, or of a later agent."""
    body = read_json(path)
    if body is not None and body.get("schema") != _SCHEMA:
        raise FleetError(f"{path}: schema {body.get('schema')!r}, this agent reads {_SCHEMA}", hint="upgrade the agent")
    return body
