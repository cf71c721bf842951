"""Long work that may be stopped at any moment: by a signal it keeps the very step it is at, by kill -9 the last one kept.

A production has a folder, named by a digest of its recipe and data: the same command finds it again and goes on.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cloud.data.dataset import Dataset
from cloud.factory.checkpoint import Checkpoint, Checkpoints
from cloud.factory.recipes import Production
from littoral.digest import digest_of, hex_of
from littoral.errors import BadInput, Conflict, FleetError

Tell = Callable[[str], None]
"""Told, in a sentence, what an operator would want to know."""


class Stopped(FleetError):
    """Training was told to stop; where it kept checkpoints, the same command goes on from there."""

    code = "stopped"
    retryable = True
    exit_code = 130


def tell_nobody(_: str) -> None:
    """For callers that show nothing."""


@dataclass(frozen=True, slots=True)
class StoppableCheckpoints(Checkpoints):
    """Checkpoints that keep the step at which training is told to stop, and then end it."""

    stop: threading.Event = field(default_factory=threading.Event)
    tell: Tell = tell_nobody

    def due(self, step: int, steps: int) -> bool:
        return self.stop.is_set() or Checkpoints.due(self, step, steps)

    def save(self, name: str, key: str, checkpoint: Checkpoint) -> None:
        """Raises Stopped after the checkpoint was written, where it was told to stop; what Checkpoints.save raises."""
        Checkpoints.save(self, name, key, checkpoint)
        if self.stop.is_set():
            raise Stopped(f"{name}: stopped after step {checkpoint.step}", hint="the same command goes on from there")

    def load(self, name: str, key: str) -> Checkpoint | None:
        found = Checkpoints.load(self, name, key)
        if found is not None:
            self.tell(f"{name}: goes on after step {found.step}")
        return found


def key_of(recipe: Production, dataset: Dataset) -> str:
    """Of everything in a recipe that decides what comes out, and the data."""
    body = json.dumps([recipe.resolved(), dataset.digest], sort_keys=True)
    return hex_of(digest_of(body.encode()))[:16]


@contextmanager
def held(folder: Path) -> Iterator[Path]:
    """The folder of one production, for this process alone until the block ends; the lock goes with the process.

    Raises:
        Conflict: another process is at it. BadInput: the folder cannot be written.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
    except OSError as error:
        raise BadInput(f"training: {folder} cannot be written: {error.strerror}", hint="name another --data-dir") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(f"training: another process is at {folder}", hint="wait for it, or end it first") from error
        yield folder


def forget(folder: Path) -> None:
    """Removes what a production kept, once it is not needed any more."""
    shutil.rmtree(folder, ignore_errors=True)
