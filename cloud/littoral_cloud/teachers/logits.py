"""A teacher's answers on disk: asked once for each copy of the images, used by every student, and still there after a crash.

One safetensors file a copy, written whole or not at all. It carries the digest of what it holds, so that a file which a crash or
a disk has damaged is noticed; it is then computed again, for it can be.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from littoral.digest import digest_of, hex_of
from littoral.errors import BadInput, NoSpace, TooLarge, unwritten
from littoral_cloud.data.dataset import Dataset
from littoral_cloud.teachers.teacher import Teacher
from littoral_cloud.training.augmentation import Augment, Copy
from littoral_cloud.training.schedule import Logits, ignore
from littoral_cloud.training.train import EVALUATION_BATCH

MOST_BYTES = 4 << 30
"""Of one folder. What was not used for longest is deleted before a new file would go over it."""

_LOGITS = "logits"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class CachedLogits:
    """Logits (see trainer.py) that are stored in a folder. Safe to use from several threads: each copy is computed once.

    Two teachers, data sets or ways to move images never share a file.
    """

    teacher: Teacher
    dataset: Dataset
    augment: Augment | None
    folder: Path
    asked: Callable[[int], None] = ignore  # called with the number of images that the teacher has just answered
    most_bytes: int = MOST_BYTES
    _locks: dict[int, threading.Lock] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def digest(self) -> str:
        return self.teacher.digest

    @property
    def copy_bytes(self) -> int:
        """Of the logits of one copy."""
        return len(self.dataset.train_y) * self.dataset.classes * 4

    def of(self, copy: int) -> Logits:
        """(n, classes) float32 of the training images, in their order.

        Raises:
            NoSpace: the disk is full. BadInput: the folder cannot be written. What the teacher raises.
        """
        with self._lock_of(copy):
            place = self.place(copy)
            stored = self._load(place)
            return self._made(copy, place) if stored is None else stored

    def missing(self, copies: Iterable[int]) -> list[int]:
        """Those of the copies that the teacher has yet to be asked for."""
        return [copy for copy in copies if self._load(self.place(copy)) is None]

    def make(self, copies: Iterable[int]) -> None:
        """Sees to it that these copies are on the disk.

        Raises what `of` raises, a full disk before the teacher is asked; TooLarge where they are more than the folder may hold.
        """
        copies = list(copies)
        if (whole := len(copies) * self.copy_bytes) > self.most_bytes:
            raise TooLarge(
                f"answers: {len(copies)} copies take {whole:,} bytes", hint=f"at most {self.most_bytes:,}: fewer copies"
            )
        missing = self.missing(copies)
        needed = len(missing) * self.copy_bytes
        folder = next(place for place in (self.folder, *self.folder.parents) if place.exists())
        if missing and needed > (free := shutil.disk_usage(folder).free):
            raise NoSpace(
                f"answers: {len(missing)} copies need {needed:,} bytes in {self.folder}, {free:,} are free",
                hint="make room there, or set augment.copies lower",
            )
        for copy in missing:
            self.of(copy)

    def place(self, copy: int) -> Path:
        """Where the answers for a copy lie: each teacher, data set and way of moving has a name of its own."""
        moved = None
        if copy and self.augment is not None:  # copy 0 is the images unchanged, for every `augment`
            moved = {name: getattr(self.augment, name) for name in ("rotation", "scale", "shear", "shift", "seed")}
        key = json.dumps([self.teacher.digest, self.dataset.digest, moved, copy], sort_keys=True)
        return self.folder / f"{hex_of(digest_of(key.encode()))[:32]}.safetensors"

    def _made(self, copy: int, place: Path) -> Logits:
        images = Copy(self.dataset.train_x, self.augment, copy)
        count = len(self.dataset.train_y)
        parts = []
        for start in range(0, count, EVALUATION_BATCH):
            index = np.arange(start, min(count, start + EVALUATION_BATCH))
            parts.append(self.teacher.logits(images.take(index)))
            self.asked(len(index))
        logits = np.ascontiguousarray(np.concatenate(parts), dtype=np.float32)
        if logits.shape != (count, self.dataset.classes) or not np.isfinite(logits).all():
            raise BadInput(
                f"teacher: {self.teacher.name} gave logits of shape {logits.shape}, or not finite ones",
                hint=f"finite ones of shape ({count}, {self.dataset.classes}) are wanted",
            )
        self._save(place, logits)
        return logits

    def _save(self, place: Path, logits: Logits) -> None:
        part = place.with_suffix(f".{os.getpid()}.part")
        about = {"teacher": self.teacher.digest, "data": self.dataset.digest, "digest": digest_of(logits.tobytes())}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._make_room(logits.nbytes)
            try:
                with part.open("wb") as file:
                    file.write(save({_LOGITS: logits}, about))
                    file.flush()
                    os.fsync(file.fileno())
                part.replace(place)
            finally:
                part.unlink(missing_ok=True)
        except OSError as error:
            raise unwritten(f"answers: {place}, {logits.nbytes:,} bytes,", error, hint="name a folder that can") from error

    def _make_room(self, wanted: int) -> None:
        stored = sorted(((file, file.stat()) for file in self.folder.glob("*.safetensors")), key=lambda pair: pair[1].st_mtime_ns)
        total = sum(stat.st_size for _, stat in stored) + wanted
        for file, stat in stored:
            if total <= self.most_bytes:
                return
            file.unlink(missing_ok=True)
            total -= stat.st_size

    def _load(self, place: Path) -> Logits | None:
        if not place.is_file():
            return None
        try:
            with safe_open(place, framework="np") as file:
                about = file.metadata() or {}
                logits: Logits = file.get_tensor(_LOGITS)
        except (SafetensorError, KeyError, ValueError, OSError) as error:
            _log.warning("answers: %s is damaged and is computed again: %s", place, error)
            return None
        wanted = (len(self.dataset.train_y), self.dataset.classes)
        sound = logits.shape == wanted and logits.dtype == np.float32
        if not sound or about.get("digest") != digest_of(logits.tobytes()) or not np.isfinite(logits).all():
            _log.warning("answers: %s is damaged and is computed again", place)
            return None
        os.utime(place)  # used now: what was not used for longest goes first
        return logits

    def _lock_of(self, copy: int) -> threading.Lock:
        with self._lock:
            return self._locks.setdefault(copy, threading.Lock())
