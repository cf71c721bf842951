"""Stores of a search: a journal of JSON lines, and leases. The port, and the two stores that need no server.

A search in memory ends with its process. One in a folder continues after a kill, and several processes of a machine may share it.
One in Redis (cloud/littoral_cloud/store/searches.py) may be shared by several machines.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from littoral.errors import BadInput


class SearchStore(Protocol):
    """Each call is atomic beside all others. Raises Unavailable where the store does not answer."""

    def read(self, start: int) -> Sequence[str]:
        """The lines of the journal from `start` on, counted from 0."""
        ...

    def append(self, lines: Sequence[str]) -> None:
        """Adds lines at the end, with no other line between them."""
        ...

    def take(self, name: str, ttl_s: float) -> int | None:
        """Takes a lease and returns its token; None where another one has it."""
        ...

    def renew(self, name: str, token: int, ttl_s: float) -> bool:
        """Renews a lease. False: this token no longer has it."""
        ...

    def release(self, name: str, token: int) -> None:
        """Gives a lease back; does nothing where this token no longer has it."""
        ...

    def leased(self, names: Iterable[str]) -> frozenset[str]:
        """Those of the leases that a caller has now."""
        ...


class MemoryStore:
    """For one process; it ends with it."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._leases: dict[str, int] = {}
        self._tokens = 0
        self._lock = threading.Lock()

    def read(self, start: int) -> Sequence[str]:
        with self._lock:
            return self._lines[start:]

    def append(self, lines: Sequence[str]) -> None:
        with self._lock:
            self._lines += lines

    def take(self, name: str, ttl_s: float) -> int | None:
        with self._lock:
            if name in self._leases:
                return None
            self._tokens += 1
            self._leases[name] = self._tokens
            return self._tokens

    def renew(self, name: str, token: int, ttl_s: float) -> bool:
        with self._lock:
            return self._leases.get(name) == token

    def release(self, name: str, token: int) -> None:
        with self._lock:
            if self._leases.get(name) == token:
                del self._leases[name]

    def leased(self, names: Iterable[str]) -> frozenset[str]:
        with self._lock:
            return frozenset(names) & frozenset(self._leases)


class FolderStore:
    """A file of lines, and a locked file for each lease. The lines survive a kill; a lease ends with its process.

    Raises BadInput, naming the folder, where it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._journal, self._leases = folder / "journal.jsonl", folder / "leases"
        self._mine: dict[int, int] = {}  # by token, the descriptor with the lock
        self._tokens = 0
        self._lock = threading.Lock()
        try:
            self._leases.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._journal.touch(mode=0o600)
        except OSError as error:
            raise BadInput(f"search: {folder} cannot be written: {error.strerror}", hint="name another folder") from error

    def read(self, start: int) -> Sequence[str]:
        data = self._journal.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]  # a kill may leave a part of a line: it does not count
        return whole.decode().splitlines()[start:]

    def append(self, lines: Sequence[str]) -> None:
        with self._journal.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            data = file.read()
            end = data.rfind(b"\n") + 1
            file.seek(end)
            file.truncate()
            file.write("".join(line + "\n" for line in lines).encode())
            file.flush()
            os.fsync(file.fileno())

    def take(self, name: str, ttl_s: float) -> int | None:
        descriptor = self._locked(name)
        if descriptor is None:
            return None
        with self._lock:
            self._tokens += 1
            self._mine[self._tokens] = descriptor
            return self._tokens

    def renew(self, name: str, token: int, ttl_s: float) -> bool:
        with self._lock:
            return token in self._mine

    def release(self, name: str, token: int) -> None:
        with self._lock:
            descriptor = self._mine.pop(token, None)
        if descriptor is not None:
            os.close(descriptor)

    def leased(self, names: Iterable[str]) -> frozenset[str]:
        found = set()
        for name in names:
            descriptor = self._locked(name)
            if descriptor is None:
                found.add(name)
            else:
                os.close(descriptor)
        return frozenset(found)

    def _locked(self, name: str) -> int | None:
        descriptor = os.open(self._leases / f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor
