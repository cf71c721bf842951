"""Reports on the disk: a file of records, appended to while the cloud is away, deleted when it has them.

A record is its length, its CRC-32 (both 4 bytes, big-endian) and a TelemetryReport. An empty record means that everything before
it was sent in a session, and may be counted. A record that a power failure cut short ends the file; what stands before it is
read.
"""

from __future__ import annotations

import dataclasses
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path

from google.protobuf.message import DecodeError

from littoral.fleet.v1 import session_pb2
from littoral.transport import MAX_MESSAGE_BYTES
from littoral_node.identity.files import append_synced, write_atomic
from littoral_node.telemetry.backlog import WaitingReport

_HEAD = struct.Struct(">II")
_SENT = b""


class Spool:
    """Args:
    path: of the file; made where it is not there. One process at a time.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> tuple[list[WaitingReport], int]:
        """(the reports, bytes behind them that cannot be read)."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return [], 0
        found: list[WaitingReport] = []
        at = 0
        while (record := _record(data, at)) is not None:
            if record == _SENT:
                found = [dataclasses.replace(entry, sent=True) for entry in found]
            else:
                try:
                    found.append(WaitingReport.of(session_pb2.TelemetryReport.FromString(record)))
                except DecodeError:
                    break
            at += _HEAD.size + len(record)
        return found, len(data) - at

    def append(self, entries: Iterable[WaitingReport]) -> None:
        """Reports that were sent come first. Raises OSError, and cuts an unfinished record off."""
        append_synced(self.path, _records(entries))

    def mark_sent(self) -> None:
        """Everything in it is about to be sent. Raises OSError."""
        if self.path.exists():
            append_synced(self.path, _packed(_SENT))

    def replace(self, entries: Iterable[WaitingReport]) -> None:
        """Leaves these and nothing else, in one step. Raises OSError."""
        write_atomic(self.path, _records(entries))

    def clear(self) -> None:
        self.path.unlink(missing_ok=True)


def _records(entries: Iterable[WaitingReport]) -> bytes:
    ordered = list(entries)
    sent = [entry.data for entry in ordered if entry.sent]
    fresh = [entry.data for entry in ordered if not entry.sent]
    return b"".join(map(_packed, [*sent, *([_SENT] if sent else []), *fresh]))


def _packed(record: bytes) -> bytes:
    return _HEAD.pack(len(record), zlib.crc32(record)) + record


def _record(data: bytes, at: int) -> bytes | None:
    """None at the end, or where it is damaged."""
    if at + _HEAD.size > len(data):
        return None
    length, checksum = _HEAD.unpack_from(data, at)
    record = data[at + _HEAD.size : at + _HEAD.size + length]
    whole = len(record) == length <= MAX_MESSAGE_BYTES and zlib.crc32(record) == checksum
    return record if whole else None
