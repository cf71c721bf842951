"""Unix sockets that only our own user can reach."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from littoral.errors import Unavailable

MAX_SOCKET_PATH = 100  # bytes; the kernel takes 107, one more for each NUL that a platform wants


def socket_path(folder: Path, name: str) -> Path:
    """In the folder itself, or, where that is too long for a socket, in a private folder of a short name."""
    inside = folder / name
    if len(os.fsencode(inside)) <= MAX_SOCKET_PATH:
        return inside
    short = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    for base in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"):  # noqa: S108 - see private_folder
        if base and Path(base).is_dir():
            path = Path(base) / f"littoral-{os.getuid()}-{short}" / name
            if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
                return path
    raise Unavailable(f"{name}: no folder is short enough for a socket of {folder}", hint="shorten LITTORAL_DATA_DIR")


def private_folder(folder: Path) -> None:
    """Makes a folder that only we can enter, and refuses one that somebody else put there."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.getuid() or folder.is_symlink():
        raise Unavailable(f"{folder}: belongs to user {found.st_uid}", hint="remove it, or set TMPDIR")
    folder.chmod(0o700)
