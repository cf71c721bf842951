"""Private keys on disk: readable by their owner only, and made once even when two processes start at the same moment."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

from littoral.errors import Untrusted, unwritten


def create_folder(folder: Path, files: Mapping[str, bytes]) -> bool:
    """Makes a folder with these files, whole, or leaves the one that is there already; gives whether it made it.

    Raises NoSpace or BadInput where it cannot be written; nothing is left behind then.
    """
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(8)}")
    try:
        temporary.mkdir(mode=0o700, parents=True)
        for name, data in files.items():
            descriptor = os.open(temporary / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        try:
            temporary.rename(folder)  # fails where a folder with files stands: the first process wins
        except OSError:
            if not folder.is_dir():
                raise
            return False
        sync_folder(folder.parent)
        return True
    except OSError as error:
        raise unwritten(f"keys: {folder}", error, hint="check the owner of it") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_atomically(path: Path, data: bytes, *, synced: bool = False, private: bool = False) -> None:
    """Replaces a file: readers see the old bytes or the new ones.

    Args:
        synced: a power loss later does not undo it.
        private: only its owner can read it.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600 if private else 0o666)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            if synced:
                file.flush()
                os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    if synced:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Syncs the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_private(path: Path) -> bytes:
    """Raises Untrusted where the file is missing, or others may read it."""
    try:
        mode = path.stat().st_mode
        data = path.read_bytes()
    except OSError as error:
        raise Untrusted(f"keys: {path} cannot be read: {error.strerror}", hint="put it back from a backup") from error
    if mode & 0o077:
        raise Untrusted(f"keys: {path} has mode {mode & 0o777:04o}: others may read it", hint=f"run `chmod 600 {path}`")
    return data
