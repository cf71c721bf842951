"""Files that survive a power cut and reveal damage by the disk: written whole or not at all, with a checksum.

A record is a dataclass in JSON, with its schema number. littoral.decoder reads it, so a value of a wrong type is damage too.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from littoral import decoder, json_text
from littoral.errors import BadInput, FleetError

T = TypeVar("T")
SCHEMA = 1
_SUM = "crc32"


def write_atomic(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Writes a file whole or not at all, and to the disk before it returns. Raises OSError (as ENOSPC); the old file stays."""
    beside = path.with_name(f".{path.name}.new")
    try:
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            _give_to_owner(file.fileno(), path.parent)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _give_to_owner(file: int, folder: Path) -> None:
    """Root that writes into the folder of another user (`sudo littoral-node enroll`) leaves files which that user can read."""
    if os.geteuid() == 0 and (owner := folder.stat()).st_uid != 0:
        os.fchown(file, owner.st_uid, owner.st_gid)


def append_synced(path: Path, data: bytes) -> None:
    """Appends whole or not at all, and to the disk before it returns. Raises OSError; an unfinished write is cut off."""
    with path.open("ab", buffering=0) as file:  # a buffer would write the rest when it is closed
        end, left = file.tell(), memoryview(data)
        try:
            while left:
                left = left[file.write(left) :]
            os.fsync(file.fileno())
        except OSError:
            os.truncate(path, end)
            raise


def sync_folder(folder: Path) -> None:
    """Makes renames in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_json(path: Path) -> dict[str, Any] | None:
    """None where there is no such file. Raises FleetError where it is not a JSON object."""
    try:
        body = json_text.parse(path.read_bytes(), "it")
    except FileNotFoundError:
        return None
    except PermissionError:
        raise  # the commands name the user to run them as
    except OSError as error:
        raise FleetError(f"{path}: cannot be read: {error.strerror}", hint="the disk may be failing") from error
    except BadInput as error:
        way_out = "the disk may be failing; move the file away to start without it"
        raise FleetError(f"{path}: is damaged: {error.message}", hint=way_out) from error
    if not isinstance(body, dict):
        raise FleetError(
            f"{path}: must hold an object, holds {type(body).__name__}", hint="move the file away to start without it"
        )
    if (named := body.pop(_SUM, None)) is not None and named != _sum_of(body):
        raise FleetError(f"{path}: is damaged: its checksum is wrong", hint="the disk may be failing")
    return body


def read_record(cls: type[T], path: Path) -> T | None:
    """What `write_record` wrote; None where there is no such file.

    Raises FleetError where it is damaged, or a later agent wrote it.
    """
    if (body := read_json(path)) is None:
        return None
    if (schema := body.pop("schema", None)) != SCHEMA:
        raise FleetError(f"{path}: schema {schema!r}, this agent reads {SCHEMA}", hint="upgrade the agent")
    try:
        return decoder.decode(cls, body, str(path))
    except BadInput as error:
        raise FleetError(f"{path}: is damaged: {error.message.removeprefix(str(path)).lstrip('.')}", hint=error.hint) from error


def write_record(path: Path, record: Any, *, mode: int = 0o644) -> None:
    """A dataclass, as `read_record` reads it."""
    write_json(path, {"schema": SCHEMA, **decoder.plain(record)}, mode=mode)


Damaged = Callable[[Path, Exception | str], None]
"""Called with a damaged file, and what is wrong with it."""


def ignore_damage(path: Path, why: Exception | str) -> None:
    """A `Damaged` that does nothing."""


def put_aside(path: Path) -> None:
    """Renames a damaged file, so that an operator can look at it. On a read-only disk it stays where it is."""
    with suppress(OSError):
        path.replace(path.with_suffix(".damaged"))


def write_json(path: Path, body: Mapping[str, Any], *, mode: int = 0o644) -> None:
    """Adds a checksum: without it, a number or digest in which the disk flipped one bit may look right."""
    summed = {**body, _SUM: _sum_of(body)}
    write_atomic(path, json.dumps(summed, sort_keys=True, indent=1).encode() + b"\n", mode=mode)


def _sum_of(body: Mapping[str, Any]) -> str:
    """CRC-32 of its one canonical JSON, hex. A file of an older agent has none."""
    return f"{zlib.crc32(json.dumps(body, sort_keys=True).encode()):08x}"


def locked(place: Path, busy: FleetError) -> int:
    """Locks a file for this process until the handle is closed, or the process ends.

    Raises `busy` where another process has the lock, OSError where there can be no such file.
    """
    try:
        handle = os.open(place, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        handle = os.open(place, os.O_RDONLY)  # a card that was mounted read-only because it fails: the node serves what is on it
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise busy from error
    return handle
