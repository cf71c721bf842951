"""The coordinator's side of the process in which teachers answer: begun with the coordinator, and again where it has ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from littoral.child import training_environment
from littoral.errors import RuntimeFailure, Unavailable
from littoral.signature import Packed
from littoral_cloud.fleet.records import dump
from littoral_cloud.releases.teacher_records import KeptTeacher

log = logging.getLogger(__name__)

WAITING = 16
"""Questions that may wait for their turn; with more a node is told to answer by itself."""
LIMIT_S = 60.0
"""For one question; the first one for a teacher loads it."""
START_S = 240.0
"""Until it is ready: a busy machine imports torch slowly, and ending it would begin that anew."""
_LINE = 1 << 24


class TeacherBusy(Unavailable):
    """More nodes ask than the teacher answers."""

    code = "teacher-busy"


class TeacherProcess:
    """One question at a time.

    Args:
        data_dir: the coordinator's data folder; what the process says goes to DATA/joint.log.
    """

    def __init__(self, data_dir: Path, *, limit_s: float = LIMIT_S) -> None:
        self._data_dir = data_dir
        self._limit_s = limit_s
        self._child: asyncio.subprocess.Process | None = None
        self._ready = False  # it has said so
        self._broken = False  # the last start failed
        self._turn = asyncio.Lock()
        self._waiting = 0

    @property
    def ready(self) -> bool:
        """A question that is asked now is answered without waiting for torch."""
        return self._ready and self._child is not None and self._child.returncode is None

    @property
    def starting(self) -> bool:
        """A question that is asked now would wait for torch, as far as anybody knows."""
        return not self.ready and not self._broken

    async def begin(self) -> None:
        """Returns once it is ready. Raises RuntimeFailure."""
        async with self._turn:
            await self._running()

    async def ask(self, digest: str, kept: KeptTeacher, x: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """(n, classes) logits to raw inputs.

        Args:
            x: (n, *shape), uint8 or float32.

        Raises TeacherBusy, RuntimeFailure, or what loading the teacher raised, with its code.
        """
        if self._waiting >= WAITING:
            raise TeacherBusy(f"{self._waiting} questions wait for the teacher", hint="the node answers by itself")
        self._waiting += 1
        try:
            async with self._turn:
                answer = await self._answer(
                    {
                        "teacher": digest,
                        "kept": dump(kept),
                        "inputs": asdict(Packed.of(x)),
                    }
                )
        finally:
            self._waiting -= 1
        if "code" in answer:
            raise RuntimeFailure.with_code(str(answer["code"]), str(answer["message"]))
        logits = np.asarray(answer["logits"], np.float32)
        if logits.shape != (len(x), kept.classes) or not np.isfinite(logits).all():
            raise RuntimeFailure(f"teacher {kept.name}: answered {list(logits.shape)}, wanted {[len(x), kept.classes]}")
        return logits

    async def close(self) -> None:
        async with self._turn:
            await self._end()

    async def _answer(self, question: dict[str, Any]) -> dict[str, Any]:
        child = await self._running()
        assert child.stdin is not None
        child.stdin.write(json.dumps(question).encode() + b"\n")
        return await self._said(child, self._limit_s)

    async def _running(self) -> asyncio.subprocess.Process:
        if self.ready and self._child is not None:
            return self._child
        await self._end()
        try:
            child = self._child = await self._start()
            await self._said(child, START_S)
        except OSError as error:
            self._broken = True
            raise RuntimeFailure(f"teacher: its process does not start: {error}") from error
        except RuntimeFailure:
            self._broken = True
            raise
        self._ready, self._broken = True, False
        log.info("teacher: process %d is ready to answer", child.pid)
        return child

    async def _start(self) -> asyncio.subprocess.Process:
        with (self._data_dir / "joint.log").open("ab") as output:
            return await asyncio.create_subprocess_exec(
                *(
                    sys.executable,
                    "-m",
                    "littoral_cloud.teacher_service.worker",
                    "--parent",
                    str(os.getpid()),
                    "--data",
                    str(self._data_dir),
                ),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=output,
                limit=_LINE,
                env=training_environment(os.environ, self._data_dir / "flwr"),
                start_new_session=True,  # a Ctrl-C at the terminal is the coordinator's to handle
            )

    async def _said(self, child: asyncio.subprocess.Process, limit_s: float) -> dict[str, Any]:
        """Its next line. Raises RuntimeFailure, having ended it."""
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            async with asyncio.timeout(limit_s):
                await child.stdin.drain()
                line = await child.stdout.readline()
        except (TimeoutError, OSError, ValueError) as error:
            await self._end()
            raise RuntimeFailure(f"teacher: gave no answer: {error or f'in {limit_s:g} s'}") from error
        except asyncio.CancelledError:
            await self._end()  # its answer would come to the next question
            raise
        if not line:
            code = await child.wait()
            await self._end()
            raise RuntimeFailure(f"teacher: its process ended with {code}; see {self._data_dir / 'joint.log'}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def _end(self) -> None:
        child, self._child, self._ready = self._child, None, False
        if child is not None and child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()
