"""DATA/serve.json: where the coordinator on this data folder can be reached; DATA/serve.lock: that it runs. Light: commands read
them before anything else.

The lock (flock) vanishes with the process that holds it, however that ends, and is seen from other containers too, where a
process id says nothing. The process that has it writes its own id into it, so that its successor knows whose sessions have ended.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from littoral import decoder, json_text
from littoral.errors import BadInput, Unavailable, unwritten
from littoral_cloud.trust.files import write_atomically
from littoral_cloud.trust.private_socket import private_folder, socket_path

LOCK_FILE = "serve.lock"
SERVE_FILE = "serve.json"
API_SOCKET = "api.sock"
_LOOK_S = 0.3


@dataclass(frozen=True, slots=True)
class Serving:
    """There for as long as the process serves. Addresses are HOST:PORT, as nodes reach them."""

    enrolment: str
    fleet: str
    pid: int
    api: str = ""  # of a coordinator of before there was one

    def write(self, data_dir: Path) -> Path:
        path = data_dir / SERVE_FILE
        write_atomically(path, json.dumps(asdict(self)).encode() + b"\n")
        return path

    def withdraw(self, data_dir: Path) -> None:
        """Removes what `write` wrote; not what another process wrote since."""
        if _written(data_dir) == self:
            (data_dir / SERVE_FILE).unlink(missing_ok=True)

    @classmethod
    def read(cls, data_dir: Path) -> Serving | None:
        """None where no server runs on this folder, or where one was killed and none has followed it."""
        found = _written(data_dir)
        return found if found is not None and _runs(data_dir, found.pid) else None


def api_socket(data_dir: Path) -> Path:
    """Where the coordinator on this folder answers its own user."""
    folder = data_dir.resolve()
    path = socket_path(folder, API_SOCKET)
    if path.parent != folder:
        private_folder(path.parent)
    return path


def _written(data_dir: Path) -> Serving | None:
    path = data_dir / SERVE_FILE
    try:
        return decoder.decode(Serving, json_text.parse(path.read_bytes(), "it"), "it")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except BadInput as error:
        raise BadInput(f"{path}: is damaged: {error.message}", hint="remove it and start the server again") from error


@contextmanager
def claimed(data_dir: Path, coordinator: str) -> Iterator[str]:
    """This folder is served by this process alone inside the context. Gives the id of the coordinator that served it before; "":
    none did.

    Args:
        coordinator: the id of this process, for the coordinator that follows it.

    Raises:
        Unavailable: another coordinator serves it. NoSpace, BadInput: the folder cannot be written.
    """
    path = data_dir / LOCK_FILE
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise unwritten(f"data folder: {error.filename or path}", error, hint="name another --data-dir") from error
    try:
        if not _locks(lock):
            raise _served(data_dir)
        former = os.pread(lock, 100, 0).decode(errors="replace").strip()
        (data_dir / SERVE_FILE).unlink(missing_ok=True)  # of one that was killed
        try:
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{coordinator}\n".encode(), 0)
        except OSError as error:
            raise unwritten(f"data folder: {path}", error, hint="name another --data-dir") from error
        yield former
    finally:
        os.close(lock)


def _locks(lock: int) -> bool:
    """Another process that only looks has it for some microseconds."""
    deadline = time.monotonic() + _LOOK_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(_LOOK_S / 20)  # noqa: TID251 - before anything runs
        except OSError as error:
            raise BadInput(
                f"data folder: {LOCK_FILE} cannot be locked there: {error.strerror}",
                hint="keep it on a file system that knows flock, a local one",
            ) from error


def _served(data_dir: Path) -> Unavailable:
    try:
        found = _written(data_dir)
    except BadInput:
        found = None
    who = f"process {found.pid}, enrolment at {found.enrolment}" if found else "it is just starting, or ending"
    return Unavailable(
        f"data folder: {data_dir} is served by another coordinator ({who})",
        hint="end that one, or name another --data-dir for this one",
    )


def _runs(data_dir: Path, pid: int) -> bool:
    try:
        lock = os.open(data_dir / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # a coordinator of before there was a lock, or of another user
        return _lives(pid)
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    except OSError:  # a file system that knows no locks
        return _lives(pid)
    finally:
        os.close(lock)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # as another user
        return True
    return True
