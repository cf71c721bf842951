"""Reports on the disk: a file of records, appended to while the cloud is away, deleted when it has them.

A record is its length, its CRC-32 (both 4 bytes, big-endian) and a TelemetryReport. An empty record says that whatever stands
before it was said to a session, and may have been counted. A record that was cut by a power failure ends the file: what stands
before it is read.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from google.protobuf.message import DecodeError

from littoral.fleet.v1 import session_pb2
from littoral.transport import MAX_WORD_BYTES
from littoral_node.identity.files import append_synced, write_atomic
from littoral_node.telemetry.backlog import Waiting

_HEAD = struct.Struct(">II")
_SAID = b""


class Spool:
    """Args:
    path: of the file; made where it is not there. One process at a time.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> tuple[list[Waiting], int]:
        """(the reports, bytes behind them that cannot be read)."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return [], 0
        found: list[Waiting] = []
        at = 0
        while (record := _record(data, at)) is not None:
            if record == _SAID:
                found = [replace(entry, said=True) for entry in found]
            else:
                try:
                    found.append(Waiting.of(session_pb2.TelemetryReport.FromString(record)))
                except DecodeError:
                    break
            at += _HEAD.size + len(record)
        return found, len(data) - at

    def append(self, entries: Iterable[Waiting]) -> None:
        """Of all that wait, those that were said come first. Raises OSError; a record that was begun is cut off again."""
        append_synced(self.path, _records(entries))

    def mark_said(self) -> None:
        """All that is in it is about to be said. Raises OSError."""
        if self.path.exists():
            append_synced(self.path, _packed(_SAID))

    def keep(self, entries: Iterable[Waiting]) -> None:
        """These and nothing else, in one step. Raises OSError."""
        write_atomic(self.path, _records(entries))

    def clear(self) -> None:
        self.path.unlink(missing_ok=True)


def _records(entries: Iterable[Waiting]) -> bytes:
    ordered = list(entries)
    said = [entry.data for entry in ordered if entry.said]
    fresh = [entry.data for entry in ordered if not entry.said]
    return b"".join(map(_packed, [*said, *([_SAID] if said else []), *fresh]))


def _packed(record: bytes) -> bytes:
    return _HEAD.pack(len(record), zlib.crc32(record)) + record


def _record(data: bytes, at: int) -> bytes | None:
    """None at the end, or where it is damaged."""
    if at + _HEAD.size > len(data):
        return None
    length, checksum = _HEAD.unpack_from(data, at)
    record = data[at + _HEAD.size : at + _HEAD.size + length]
    whole = len(record) == length <= MAX_WORD_BYTES and zlib.crc32(record) == checksum
    return record if whole else None
