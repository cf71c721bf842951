"""Long work that may be stopped at any moment. A signal saves a checkpoint of the current step; kill -9 leaves the last one.

Each training has a file of its own, named by its name and a digest of all that decides its weights. So the same command finds
every file again and continues, and a recipe in which one student changed finds its teacher and the other students.
"""

from __future__ import annotations

import fcntl
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from littoral.digest import hex_of
from littoral.errors import Conflict, FleetError, unwritten
from littoral_cloud.training.checkpoint import Checkpoint, Checkpoints
from littoral_cloud.training.schedule import ignore

Tell = Callable[[str], None]
"""Called with a sentence for the operator."""


class Stopped(FleetError):
    """A signal stopped the training; where it wrote checkpoints, the same command continues from the last one."""

    code = "stopped"
    retryable = True
    exit_code = 130


def made_writable(folder: Path, what: str, *, hint: str) -> None:
    """Makes a folder and tries to write there: before hours of work, not after.

    Raises BadInput with this hint, or NoSpace; `what` says whose folder it is.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(4096))
    except OSError as error:
        raise unwritten(f"{what}: {folder}", error, hint=hint) from error


@dataclass(frozen=True, slots=True)
class WorkFolders:
    """The folders of long work while it lasts. Any number of recipes may share both."""

    checkpoints: Path
    answers: Path  # of teachers
    every: int = 500  # steps between two checkpoints of one training
    used: set[Path] = field(default_factory=set)  # checkpoints that were loaded or saved

    def make_writable(self, what: str, *, hint: str) -> None:
        """As made_writable, both."""
        for folder in (self.checkpoints, self.answers):
            made_writable(folder, what, hint=hint)

    def forget(self) -> None:
        """Removes the checkpoints that were used, once they are not needed any more."""
        for place in self.used:
            place.unlink(missing_ok=True)
            _lock_of(place).unlink(missing_ok=True)
        self.used.clear()


@dataclass(frozen=True, slots=True)
class StoppableCheckpoints(Checkpoints):
    """Once `stop` is set, saves the step that training is at and then ends it with Stopped.

    The process that loads a checkpoint has that training for itself until `close`, or until it ends.
    """

    stop: threading.Event = field(default_factory=threading.Event)
    tell: Tell = ignore
    used: set[Path] = field(default_factory=set)
    _locks: list[TextIO] = field(default_factory=list)

    @classmethod
    def of(cls, folders: WorkFolders, stop: threading.Event, tell: Tell) -> StoppableCheckpoints:
        return cls(folders.checkpoints, folders.every, stop, tell, folders.used)

    def due(self, step: int, steps: int) -> bool:
        return self.stop.is_set() or Checkpoints.due(self, step, steps)

    def save(self, name: str, key: str, checkpoint: Checkpoint) -> None:
        """Raises Stopped after the checkpoint is written, where `stop` is set; and what Checkpoints.save raises."""
        Checkpoints.save(self, _called(name, key), key, checkpoint)
        if self.stop.is_set():
            raise Stopped(f"{name}: stopped after step {checkpoint.step}", hint="the same command continues from there")

    def load(self, name: str, key: str) -> Checkpoint | None:
        """Raises Conflict where another process runs this training; and what Checkpoints.load raises."""
        self._hold(name, self._place(_called(name, key)))
        found = Checkpoints.load(self, _called(name, key), key)
        if found is not None:
            self.tell(f"{name}: goes on after step {found.step}")
        return found

    def close(self) -> None:
        """Lets others have the trainings."""
        for lock in self._locks:
            lock.close()
        self._locks.clear()

    def _hold(self, name: str, place: Path) -> None:
        try:
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = _lock_of(place).open("w")
        except OSError as error:
            raise unwritten(f"checkpoints: {place}", error, hint="name another folder") from error
        self._locks.append(lock)
        self.used.add(place)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(f"{name}: another process is at this very training", hint="wait for it, or end it") from error


def _called(name: str, key: str) -> str:
    return f"{name}-{hex_of(key)[:16]}"


def _lock_of(place: Path) -> Path:
    return place.with_suffix(".lock")
