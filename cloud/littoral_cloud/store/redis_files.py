"""What an embedded redis-server writes into its folder: its log, and append-only files, which are synced to the disk here."""

from __future__ import annotations

import os
from pathlib import Path

MAX_LOG_BYTES = 1_000_000
_CUT_OFF = ("Truncating the AOF", "Truncating AOF", "AOF loaded anyway", "short read while loading", "Revert incomplete MULTI")
"""In the log of Redis 6.2 to 8: the file ended in the middle of a command, and was cut there."""


def cut_off(folder: Path, *, since: int = 0) -> list[str]:
    """Lines of this folder's server about an append-only file that did not end as it should.

    Args:
        since: bytes of its log to pass over.
    """
    path = folder / "redis.log"
    try:
        with path.open("rb") as file:
            file.seek(since if since <= size_of(path) else 0)  # a full log was put aside
            lines = file.read(MAX_LOG_BYTES).decode(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    return [line.strip() for line in lines if any(words in line for words in _CUT_OFF)]


def size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def sync_grown(folder: Path, synced: dict[Path, tuple[int, int]]) -> None:
    """Syncs the append-only files that are new or larger than when they were last synced; from Redis 7 there are several."""
    for path in (*folder.glob("*.aof"), *folder.glob("appendonlydir/*.aof")):
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # rewritten
            continue
        try:
            found = os.fstat(file)
            if synced.get(path) != (found.st_ino, found.st_size):
                os.fsync(file)
                synced[path] = (found.st_ino, found.st_size)
        finally:
            os.close(file)


def last_line(path: Path) -> str:
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError as error:
        return f"no log ({error})"
    return lines[-1].strip() if lines else "nothing in its log"
