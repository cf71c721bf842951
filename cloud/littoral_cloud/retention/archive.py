"""Documents that left the ledger: DATA/archive/KIND-YEAR.jsonl, one JSON object a line.

Lines are written, synced and read back before anything is deleted, so a document may stand there twice after a crash, and then
the last line counts. A line that a crash or a full disk cut is passed over.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from littoral.errors import FleetError, unwritten
from littoral_cloud.fleet.ledger import Doc
from littoral_cloud.trust.audit_files import sync_folder

FOLDER = "archive"
"""In the data folder."""


@dataclass(frozen=True, slots=True)
class Archived:
    doc: Doc
    place: Path


def place_of(folder: Path, kind: str, now: float) -> Path:
    return folder / f"{kind}s-{datetime.fromtimestamp(now, UTC).year}.jsonl"


def add(place: Path, docs: Sequence[Doc], now: float) -> None:
    """Returns once the documents are on the disk. Raises NoSpace or BadInput where they cannot be written."""
    lines = b"".join(
        json.dumps({"id": doc.id, "archived_at": now, "generation": doc.generation, "body": dict(doc.body)}).encode() + b"\n"
        for doc in docs
    )
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(place, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "r+b", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            if size and os.pread(descriptor, 1, size - 1) != b"\n":  # a crash cut the last line
                lines = b"\n" + lines
            left = memoryview(lines)
            while left:
                left = left[file.write(left) :]
            os.fsync(descriptor)
            if os.pread(descriptor, len(lines), size) != lines:
                raise FleetError(f"archive: {place} does not hold what was written", hint="check this disk")
        sync_folder(place.parent)
    except OSError as error:
        raise unwritten(f"archive: {place}", error, hint="check the owner of the folder") from error


def find(folder: Path, kind: str, id: str) -> Archived | None:
    """The document as it was archived last; None: it is not in this folder. Raises FleetError where a file cannot be read."""
    wanted = json.dumps({"id": id}).encode()[:-1] + b","  # how its line begins
    for place in sorted(folder.glob(f"{kind}s-*.jsonl"), reverse=True):
        try:
            with place.open("rb") as file:
                found = [doc for line in file if line.startswith(wanted) for doc in _read(kind, line)]
        except OSError as error:
            raise FleetError(f"archive: {place} cannot be read: {error.strerror}") from error
        if found:
            return Archived(found[-1], place)
    return None


def find_all(folder: Path, kind: str, prefix: str) -> list[Doc]:
    """The documents whose ids begin so, as they were archived last. Raises FleetError where a file cannot be read."""
    wanted = json.dumps({"id": prefix}).encode()[:-2]  # how their lines begin
    found: dict[str, Doc] = {}
    for place in sorted(folder.glob(f"{kind}s-*.jsonl")):
        try:
            with place.open("rb") as file:
                found |= {doc.id: doc for line in file if line.startswith(wanted) for doc in _read(kind, line)}
        except OSError as error:
            raise FleetError(f"archive: {place} cannot be read: {error.strerror}") from error
    return list(found.values())


def _read(kind: str, line: bytes) -> Iterable[Doc]:
    try:
        body = json.loads(line)
    except ValueError:
        return ()
    return (Doc(kind, body["id"], body["generation"], body["body"]),)
