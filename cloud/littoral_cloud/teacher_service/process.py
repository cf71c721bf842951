"""The coordinator's side of the process in which teachers answer; worker.py is its child.

The process is started with the coordinator, and again when a question comes after it has ended.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from littoral.errors import RuntimeFailure, Unavailable
from littoral.process.aio import AsyncWorker
from littoral.process.limits import training_environment
from littoral.process.on_demand import OnDemand
from littoral.process.worker import WorkerSpec
from littoral_cloud.fleet.records import dump
from littoral_cloud.releases.teacher_records import StoredTeacher

log = logging.getLogger(__name__)

WAITING = 16
"""Questions that may wait for their turn; with more, a node answers by itself."""
LIMIT_S = 60.0
"""For one question; the first one for a teacher loads it."""
START_S = 240.0
"""Until it is ready: a busy machine imports torch slowly, and a new start would import it again."""
PAUSE_S = 1.0
"""After a start that failed; doubles with each."""
MOST_BYTES = 1 << 24
"""Of the inputs or logits of one question."""


class TeacherBusy(Unavailable):
    """More nodes ask than the teacher answers."""

    code = "teacher-busy"


class TeacherProcess:
    """One question at a time.

    Args:
        data_dir: the coordinator's data folder; the process writes its stderr to DATA/teacher.log.
        blobs: as the setting; None: DATA/blobs.
    """

    def __init__(
        self,
        data_dir: Path,
        blobs: str | None = None,
        *,
        limit_s: float = LIMIT_S,
        start_s: float = START_S,
        pause_s: float = PAUSE_S,
    ) -> None:
        self._data_dir = data_dir
        self._blobs = blobs
        self._limit_s = limit_s
        self._start_s = start_s
        self._worker = OnDemand(self._start, pause_s=pause_s)
        self._waiting = 0

    @property
    def ready(self) -> bool:
        """A question that is asked now is answered without waiting for torch."""
        return self._worker.ready

    @property
    def starting(self) -> bool:
        """A question that is asked now would wait for torch. False where the last start failed: it gets the error."""
        return not self._worker.ready and not self._worker.failed

    async def begin(self) -> None:
        """Returns once it is ready. Raises RuntimeFailure."""
        await self._worker.begin()

    async def ask(self, digest: str, stored: StoredTeacher, x: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """(n, classes) logits to raw inputs. Cancelled, it ends the process.

        Args:
            x: (n, *shape), uint8 or float32.

        Raises TeacherBusy, RuntimeFailure, or what loading the teacher raised, with its code.
        """
        if self._waiting >= WAITING:
            raise TeacherBusy(f"{self._waiting} questions wait for the teacher", hint="the node answers by itself")
        self._waiting += 1
        try:
            question = {"teacher": digest, "stored": dump(stored)}
            _, arrays = await self._worker.call(question, {"inputs": x}, limit_s=self._limit_s)
        finally:
            self._waiting -= 1
        logits = arrays.get("logits")
        if logits is None or logits.shape != (len(x), stored.classes) or not np.isfinite(logits).all():
            shape = None if logits is None else list(logits.shape)
            raise RuntimeFailure(f"teacher {stored.name}: answered {shape}, wanted {[len(x), stored.classes]}")
        return logits.astype(np.float32, copy=False)

    async def close(self) -> None:
        self._worker.end()

    async def _start(self) -> AsyncWorker:
        worker = await AsyncWorker.start(
            WorkerSpec(
                "littoral_cloud.teacher_service.worker",
                {"data_dir": str(self._data_dir), "blobs": self._blobs},
                what="teacher: its process",
                most_bytes=MOST_BYTES,
                environment=training_environment(os.environ, self._data_dir / "flwr"),
                log=self._data_dir / "teacher.log",
            ),
            self._start_s,
        )
        log.info("teacher: process %d is ready to answer", worker.pid)
        return worker
