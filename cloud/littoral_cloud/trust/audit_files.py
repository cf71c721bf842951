"""Files of archived audit lines: gzip, one JSON object a line, as `audit show --format json` prints it.

A file is written whole or not at all: a temporary file, fsync, rename, fsync of the folder. Its name has the SHA-256 of its
content, so that of two processes that write at the same moment none replaces the other's file with another content.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import secrets
import zlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import BinaryIO

from littoral import json_text
from littoral.errors import BadInput, FleetError, Untrusted, unwritten
from littoral_cloud.fleet.ledger import AuditEntry
from littoral_cloud.trust.audit_chain import verify

SUFFIX = ".jsonl.gz"
PARTIAL = ".part"
_BLOCK = 1 << 20
_FIELDS = tuple(field.name for field in fields(AuditEntry))


@dataclass(frozen=True, slots=True)
class Content:
    """What a file holds. Ids of the first and the last line, and the last one's chain."""

    first: str
    last: str
    chain: str
    lines: int
    sha256: str
    bytes: int


class LinesWriter:
    """Writes one file, inside a context: `add` lines, then `publish`. Without that, nothing is left at its end.

    Each raises NoSpace or BadInput where the folder cannot be written.
    """

    def __init__(self, folder: Path, number: int) -> None:
        self._folder, self._number = folder, number
        self._partial = folder / f".audit-{number:06d}-{secrets.token_hex(8)}{PARTIAL}"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = self._partial.open("xb", buffering=0)
        except OSError as error:
            raise self._unwritten(error) from error
        self._packed = gzip.GzipFile(filename="", mode="wb", fileobj=self._file, mtime=0)

    def __enter__(self) -> LinesWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()  # what the packer holds back goes nowhere
        self._partial.unlink(missing_ok=True)

    def add(self, entries: Sequence[AuditEntry]) -> None:
        try:
            self._packed.write(b"".join(_line(entry) for entry in entries))
        except OSError as error:
            raise self._unwritten(error) from error

    def publish(self) -> Path:
        try:
            self._packed.close()
            os.fsync(self._file.fileno())
            self._file.close()
            place = self._folder / f"audit-{self._number:06d}-{file_sum(self._partial)[0][:16]}{SUFFIX}"
            self._partial.rename(place)
            sync_folder(self._folder)
        except OSError as error:
            raise self._unwritten(error) from error
        return place

    def _unwritten(self, error: OSError) -> FleetError:
        return unwritten(f"audit archive: {self._folder}", error, hint="name another folder with --to")


def read_content(place: Path, previous: str) -> Content:
    """Reads a file whole and checks its chain. `previous`: the chain before its first line.

    Raises Untrusted where it is missing, damaged or changed.
    """
    first, last, chain, count = "", "", previous, 0
    try:
        sha256, size = file_sum(place)
        for entry in read_lines(place):
            if (broken := verify([entry], chain)) is not None:
                raise Untrusted(f"audit: {place}: line {count + 1} ({broken.entry.id}) was changed, or lines before it are gone")
            first, last, chain, count = first or entry.id, entry.id, entry.chain, count + 1
    except (OSError, EOFError, zlib.error, BadInput) as error:
        raise Untrusted(f"audit: {place} cannot be read: {error}", hint="put it back from a backup") from error
    return Content(first, last, chain, count, sha256, size)


def read_lines(place: Path, about: Collection[str] = ()) -> Iterator[AuditEntry]:
    """The lines of a file, oldest first. Raises OSError, EOFError, zlib.error or BadInput where it is damaged.

    Args:
        about: only lines of these subjects; empty: all.
    """
    wanted = [json.dumps(subject).encode() for subject in about]
    with gzip.open(place, "rb") as file:
        for number, line in enumerate(file, 1):
            if wanted and not any(subject in line for subject in wanted):
                continue  # most lines: to read each as JSON is much slower
            body = json_text.parse(line, f"line {number}")
            if not isinstance(body, dict) or set(body) != set(_FIELDS):
                raise BadInput(f"line {number}: is no line of the trail")
            entry = AuditEntry(**body)  # as it is: the chain is over its values
            if not about or entry.subject in about:
                yield entry


def file_sum(place: Path) -> tuple[str, int]:
    """SHA-256 in hex, and bytes. Raises OSError."""
    sum = hashlib.sha256()
    with place.open("rb") as file:
        for block in _blocks(file):
            sum.update(block)
        return sum.hexdigest(), file.tell()


def write_whole(place: Path, data: bytes) -> None:
    """A small file. Raises NoSpace or BadInput where it cannot be written; what was there is untouched then."""
    partial = place.with_name(f".{place.name}.{secrets.token_hex(8)}{PARTIAL}")
    try:
        with partial.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(place)
        sync_folder(place.parent)
    except OSError as error:
        raise unwritten(f"archive: {place}", error, hint="check the owner of the folder") from error
    finally:
        partial.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """So that a name in it outlives a power cut. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _line(entry: AuditEntry) -> bytes:
    return json.dumps({name: getattr(entry, name) for name in _FIELDS}, allow_nan=False).encode() + b"\n"


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    while block := file.read(_BLOCK):
        yield block
