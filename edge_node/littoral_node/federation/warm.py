"""The agent's end of the warm worker process: start it, ask it, end it. Imports neither torch nor flwr."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from littoral.child import training_environment
from littoral.errors import FleetError

NICE = 5
"""Training yields the processor to inference."""

END_S = 2.0
"""How long a worker may take to end by itself when its stdin is closed, before it is killed."""


def trains(log: Callable[..., None]) -> bool:
    """Whether what a worker needs is installed; told why not. Nothing of it is imported."""
    missing = [name for name in ("torch", "flwr") if importlib.util.find_spec(name) is None]
    if missing:
        log("no-federated-runs", detail=f"{' and '.join(missing)} not installed: pip install 'littoral[edge-train]'")
    return not missing


class WorkerDied(FleetError):
    """The training process ended in the middle of its work: a crash, or the kernel out of memory."""

    code = "worker-died"
    retryable = True


class TrainingFailed(FleetError):
    """The training process is well but could not do this work; `failure` is the stable code of why."""

    code = "training-failed"

    def __init__(self, failure: str, detail: str) -> None:
        super().__init__(detail)
        self.failure = failure


@dataclass(frozen=True, slots=True)
class WarmWorker:
    """One running `python -m littoral_node.federation.worker`."""

    process: asyncio.subprocess.Process
    log: Path

    @classmethod
    async def start(cls, labelled: Path, state: Path, *, nice: int = NICE) -> WarmWorker:
        """Starts the process; its stderr is appended to STATE/worker.log. Call from the main thread (see littoral.child)."""
        state.mkdir(parents=True, exist_ok=True)
        log = state / "worker.log"
        with log.open("wb") as errors:  # of this run only: a log that grows for ever fills a small disk
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "littoral_node.federation.worker"),
                *("--parent", str(os.getpid()), "--labelled", str(labelled), "--nice", str(nice)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                env=training_environment(os.environ, state / "flwr"),
                start_new_session=True,  # a Ctrl-C at the terminal is the agent's to handle
            )
        return cls(process, log)

    @property
    def alive(self) -> bool:
        return self.process.returncode is None

    async def call(self, message: bytes) -> bytes:
        """The reply to one Flower message, both as bytes.

        Raises:
            WorkerDied: it ended before it answered. TrainingFailed: it answered that it could not.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(len(message).to_bytes(4, "big") + message)
            await self.process.stdin.drain()
            head = await self.process.stdout.readexactly(5)
            body = await self.process.stdout.readexactly(int.from_bytes(head[:4], "big") - 1)
        except (asyncio.IncompleteReadError, BrokenPipeError, ConnectionResetError) as error:
            code = await self.process.wait()
            raise WorkerDied(f"training process ended with {code}: {self.last_words()}", hint=f"its log is {self.log}") from error
        if head[4] == 0:
            return body
        failure = json.loads(body)
        raise TrainingFailed(str(failure["code"]), str(failure["detail"]))

    def last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return " / ".join(lines[-3:])[-500:]

    async def end(self, *, at_once: bool = False) -> None:
        """Ends the process: by the end of its stdin, or by SIGKILL where it is at work or does not listen."""
        assert self.process.stdin is not None
        if self.alive and not at_once:
            self.process.stdin.close()
            try:
                async with asyncio.timeout(END_S):
                    await self.process.wait()
            except TimeoutError:
                at_once = True
        if self.alive and at_once:
            with contextlib.suppress(ProcessLookupError):  # it ended by itself in between, which is what was wanted
                self.process.kill()
        await self.process.wait()
