"""The coordinator's side of the process in which teachers answer: begun with the first question, ended when nobody asks."""

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

from cloud.fleet.records import dump
from cloud.joint.teachers import KeptTeacher
from littoral.child import training_environment
from littoral.errors import RuntimeFailure, Unavailable
from littoral.signature import Packed

log = logging.getLogger(__name__)

WAITING = 16
"""Questions that may wait for their turn; with more a node is told to answer by itself."""
LIMIT_S = 60.0
"""For one question, once the process has answered one."""
START_S = 240.0
"""For the first one: a busy machine imports torch slowly, and ending it would begin that anew."""
IDLE_S = 600.0
"""After so long without a question the process ends: it holds torch, over 200 MB."""
_LINE = 1 << 24


class TeacherBusy(Unavailable):
    """More nodes ask than the teacher answers."""

    code = "teacher-busy"


class TeacherProcess:
    """One question at a time.

    Args:
        data_dir: the coordinator's data folder; what the process says goes to DATA/joint.log.
    """

    def __init__(self, data_dir: Path, *, idle_s: float = IDLE_S, limit_s: float = LIMIT_S) -> None:
        self._data_dir = data_dir
        self._idle_s = idle_s
        self._limit_s = limit_s
        self._child: asyncio.subprocess.Process | None = None
        self._warm = False  # it has answered
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._rest: asyncio.TimerHandle | None = None
        self._ending: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.returncode is None

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
            self._rest_later()
        if "code" in answer:
            raise RuntimeFailure.with_code(str(answer["code"]), str(answer["message"]))
        logits = np.asarray(answer["logits"], np.float32)
        if logits.shape != (len(x), kept.classes) or not np.isfinite(logits).all():
            raise RuntimeFailure(f"teacher {kept.name}: answered {list(logits.shape)}, wanted {[len(x), kept.classes]}")
        return logits

    async def close(self) -> None:
        if self._rest is not None:
            self._rest.cancel()
        async with self._turn:
            await self._end()

    async def _answer(self, question: dict[str, Any]) -> dict[str, Any]:
        child = self._child if self.running and self._child is not None else await self._start()
        assert child.stdin is not None
        assert child.stdout is not None
        limit_s = self._limit_s if self._warm else max(self._limit_s, START_S)
        try:
            async with asyncio.timeout(limit_s):
                child.stdin.write(json.dumps(question).encode() + b"\n")
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
            self._child = None
            raise RuntimeFailure(f"teacher: its process ended with {code}; see {self._data_dir / 'joint.log'}")
        self._warm = True
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def _start(self) -> asyncio.subprocess.Process:
        with (self._data_dir / "joint.log").open("ab") as output:
            self._child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "cloud.joint.worker", "--parent", str(os.getpid()), "--data", str(self._data_dir)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=output,
                limit=_LINE,
                env=training_environment(os.environ, self._data_dir / "flwr"),
                start_new_session=True,  # a Ctrl-C at the terminal is the coordinator's to handle
            )
        self._warm = False
        log.info("teacher: process %d", self._child.pid)
        return self._child

    def _rest_later(self) -> None:
        if self._rest is not None:
            self._rest.cancel()
        self._rest = asyncio.get_running_loop().call_later(self._idle_s, self._begin_rest)

    def _begin_rest(self) -> None:
        if not self._waiting:
            self._ending = asyncio.get_running_loop().create_task(self.close(), name="teacher at rest")

    async def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None and child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()
