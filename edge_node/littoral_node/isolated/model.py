"""A model that runs in a process of its own, behind the Protocol of every model.

Whatever its runtime does there, crash, hang or swallow memory, the agent lives: the request that was in it gets RuntimeCrash or
RuntimeHang, and `gone` says so to whoever waits for it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from littoral.child import how_ended, last_line
from littoral.errors import RuntimeFailure
from littoral_node.isolated.frames import Broken, receive, send
from littoral_node.runtimes import Array, Tensor
from littoral_node.runtimes.ended import BadValues, RuntimeCrash, RuntimeHang

LOAD_S = 120.0
_LAST_WORDS = 2_000
_GONE_S = 1.0
_COMMAND: Sequence[str] = (sys.executable, "-m", "littoral_node.isolated.main")


class ApartModel:
    """Made by `open_apart`, in an event loop's thread: the child ends with that thread.

    `infer` and `run` block until the child has answered: call them in a thread that may wait.

    Args:
        limit_s: what takes longer is ended.
    """

    def __init__(self, folder: Path, threads: int, *, memory: int, limit_s: float, command: Sequence[str] = _COMMAND) -> None:
        self._name = folder.name[:12]
        self._limit_s = limit_s
        self._turn = threading.Lock()
        self._failure: RuntimeFailure | None = None
        self._closed = False
        self._gone = asyncio.Event()
        self._last_words = b""
        self.memory_bytes = 0  # that the model added there, at its peak; 0: not known
        self._line, theirs = socket.socketpair()
        self._errors, errors = os.pipe()
        for end in (self._errors, errors):
            os.set_blocking(end, False)  # a library that writes without end loses its words, nothing else
        try:
            self._child = subprocess.Popen(
                (
                    *command,
                    *("--parent", str(os.getpid()), "--line", str(theirs.fileno())),
                    *("--threads", str(threads), "--memory", str(memory), str(folder.resolve())),
                ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                pass_fds=(theirs.fileno(),),
            )
        except OSError as error:
            self._line.close()
            os.close(self._errors)
            raise RuntimeCrash(f"{self._name}: no process for its runtime: {error.strerror}") from error
        finally:
            theirs.close()
            os.close(errors)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._errors, self._hear)

    @property
    def pid(self) -> int:
        return self._child.pid

    async def gone(self) -> RuntimeFailure:
        """Waits until the child has ended by itself, or was ended because it hung; gives why."""
        await self._gone.wait()
        return self._failed()

    def infer(self, x: Tensor) -> Tensor:
        answers = self._ask("infer", {"": x})
        if list(answers) != [""] or answers[""].dtype != np.float32 or answers[""].ndim != 2 or len(answers[""]) != len(x):
            raise self._end(RuntimeCrash(f"{self._name}: the process of its runtime answers with no logits"))
        return answers[""]

    def run(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        return self._ask("run", feeds)

    def close(self) -> None:
        self._closed = True
        self._kill()

    # -- inside ----------------------------------------------------------------------------------------------------

    def wait_loaded(self, limit_s: float) -> None:
        """Blocks until the model is loaded and right on its probe. Raises what the child found, RuntimeCrash, RuntimeHang."""
        with self._turn:
            head, _ = self._answer(limit_s, "to be loaded")
        taken = head.get("memory_bytes")
        self.memory_bytes = taken if type(taken) is int and taken >= 0 else 0

    def _ask(self, what: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
        with self._turn:
            if self._closed:
                raise RuntimeFailure(f"{self._name}: was closed")
            if self._failure is not None:
                raise self._failed()
            with suppress(OSError):  # it has gone: receiving says how
                self._line.settimeout(self._limit_s)
                send(self._line, {"do": what}, arrays)
            return self._answer(self._limit_s, "for one inference")[1]

    def _answer(self, limit_s: float, what: str) -> tuple[dict[str, Any], dict[str, Array]]:
        try:
            self._line.settimeout(limit_s)
            head, arrays = receive(self._line)
        except TimeoutError as error:
            hang = RuntimeHang(f"{self._name}: its runtime took longer than {limit_s:g} s {what}", hint="it was ended")
            raise self._end(hang) from error
        except (Broken, OSError) as error:
            if self._closed:
                raise RuntimeFailure(f"{self._name}: was closed") from error
            raise self._failed() from error
        if "code" in head:
            kind = BadValues if head["code"] == BadValues.code else RuntimeFailure
            raise kind.with_code(str(head["code"])[:100], str(head.get("message", ""))[:2_000])
        return head, arrays

    def _end(self, why: RuntimeFailure) -> RuntimeFailure:
        if self._failure is None:
            self._failure = why
        self._kill()
        return self._failed()

    def _kill(self) -> None:
        with suppress(OSError):  # closed before
            self._line.shutdown(socket.SHUT_RDWR)  # wakes a thread that waits for an answer; its end frees the descriptor
        self._child.kill()
        with suppress(subprocess.TimeoutExpired):  # the kernel does not let it go: not for us to wait
            self._child.wait(_GONE_S)

    def _failed(self) -> RuntimeFailure:
        """How it ended. Where it says nothing more and lives, it is ended."""
        if self._failure is None:
            try:
                code = self._child.wait(_GONE_S)
            except subprocess.TimeoutExpired:
                return self._end(RuntimeCrash(f"{self._name}: the process of its runtime answers no more"))
            how = how_ended(code)
            if code == -signal.SIGKILL:
                how += ": killed, for want of memory perhaps"
            self._failure = RuntimeCrash(f"{self._name}: its runtime ended with {how} {last_line(self._last_words)}".rstrip())
        return type(self._failure)(self._failure.message, hint=self._failure.hint)  # a new one for each who raises it

    def _hear(self) -> None:
        """What it writes to stderr; the end of it is the end of the child."""
        try:
            said = os.read(self._errors, 65_536)
        except BlockingIOError:
            return
        if said:
            self._last_words = (self._last_words + said)[-_LAST_WORDS:]
            return
        self._loop.remove_reader(self._errors)
        os.close(self._errors)
        if not self._closed:
            self._failed()
            self._gone.set()
        self._line.close()


async def open_apart(
    folder: Path, threads: int, *, memory: int, limit_s: float, load_s: float = LOAD_S, command: Sequence[str] | None = None
) -> ApartModel:
    """A model that was loaded in a child and is right on its probe; `folder` holds its verified artifact.

    Args:
        memory: bytes that the model may take.

    Raises RuntimeFailure or ProbeMismatch as the child found, RuntimeCrash, RuntimeHang. Cancelled, it ends the child.
    """
    model = ApartModel(folder, threads, memory=memory, limit_s=limit_s, command=command or _COMMAND)
    loading = asyncio.ensure_future(asyncio.to_thread(model.wait_loaded, load_s))
    try:
        await asyncio.shield(loading)
    except BaseException:
        await asyncio.to_thread(model.close)
        await asyncio.gather(loading, return_exceptions=True)
        raise
    return model
