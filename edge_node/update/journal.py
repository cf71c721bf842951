"""What one model's folder remembers: which artifacts are active and kept, and how far its update is.

Both files are replaced whole (write, fsync, rename). A file that is damaged is put aside, not followed: the cloud says
again what it wants.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edge_node.store import put_aside, read_json, write_json
from edge_node.update.state import Findings, Policy, State, Update
from littoral.digest import check_digest
from littoral.errors import FleetError

_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Kept:
    """Manifest digests; empty: none. `active` passed probation and serves after a restart; `previous` is kept to go back to."""

    active: str = ""
    previous: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """`clean`: the agent ended in good order after it wrote this."""

    update: Update
    clean: bool


class Journal:
    """Of one model.

    Args:
        folder: DIR/models/NAME; made where it is not there.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._slots = folder / "slots.json"
        self._update = folder / "update.json"

    def kept(self) -> Kept:
        body = _read(self._slots)
        try:
            kept = Kept(str(body["active"]), str(body["previous"])) if body else Kept()
            for digest in filter(None, (kept.active, kept.previous)):
                check_digest(digest)
        except (KeyError, FleetError):
            put_aside(self._slots)
            return Kept()
        return kept

    def keep(self, kept: Kept) -> None:
        write_json(self._slots, {"schema": _SCHEMA, **asdict(kept)})

    def read(self) -> Entry | None:
        body = _read(self._update)
        if body is None:
            return None
        try:
            raw: dict[str, Any] = dict(body["update"])
            raw["state"] = State(raw["state"])
            raw["policy"] = Policy(**raw["policy"])
            raw["findings"] = Findings(**raw["findings"]) if raw["findings"] else None
            update = Update(**raw)
            check_digest(update.manifest_digest)
            return Entry(update, bool(body["clean"]))
        except (KeyError, TypeError, ValueError, FleetError):
            put_aside(self._update)
            return None

    def write(self, update: Update, *, clean: bool = False) -> None:
        """On the disk when this returns. The deadline is left out: it stands on a clock that ends with the boot."""
        body = asdict(replace(update, deadline=0.0))
        del body["deadline"]
        write_json(self._update, {"schema": _SCHEMA, "clean": clean, "update": body})


def _read(path: Path) -> dict[str, Any] | None:
    try:
        body = read_json(path)
    except FleetError:
        put_aside(path)
        return None
    if body is not None and body.get("schema") != _SCHEMA:
        put_aside(path)
        return None
    return body
