"""Where a search is kept: a journal of JSON lines, and leases. The port, and the two that need no server.

A search kept in memory ends with its process; one kept in a folder may be killed and goes on, and several processes of one
machine may share it; one kept in Redis (cloud/littoral_cloud/store/searches.py) may be shared by several machines.
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
    """Each call is done whole or not at all, whoever else calls. Raises Unavailable where the other side stays away."""

    def read(self, start: int) -> Sequence[str]:
        """The journal's lines from this one on, counted from 0."""
        ...

    def append(self, lines: Sequence[str]) -> None:
        """Puts lines behind the last one, next to each other."""
        ...

    def take(self, name: str, ttl_s: float) -> int | None:
        """A lease: a token for its holder; None where somebody holds it."""
        ...

    def renew(self, name: str, token: int, ttl_s: float) -> bool:
        """False: it is not held under this token any more."""
        ...

    def release(self, name: str, token: int) -> None:
        """Gives a lease back; nothing where it is not held under this token any more."""
        ...

    def held(self, names: Iterable[str]) -> frozenset[str]:
        """Those of the leases that somebody holds."""
        ...


class MemoryStore:
    """For one process, gone with it."""

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

    def held(self, names: Iterable[str]) -> frozenset[str]:
        with self._lock:
            return frozenset(names) & frozenset(self._leases)


class FolderStore:
    """A file of lines, and a lock for each lease: both outlive a kill, and a lease ends with its process.

    Raises BadInput, naming the folder, where it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._journal, self._leases = folder / "journal.jsonl", folder / "leases"
        self._mine: dict[int, int] = {}  # token: the descriptor that holds the lock
        self._tokens = 0
        self._lock = threading.Lock()
        try:
            self._leases.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._journal.touch(mode=0o600)
        except OSError as error:
            raise BadInput(f"search: {folder} cannot be written: {error.strerror}", hint="name another folder") from error

    def read(self, start: int) -> Sequence[str]:
        data = self._journal.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]  # a line that a kill has torn was never written
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

    def held(self, names: Iterable[str]) -> frozenset[str]:
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
