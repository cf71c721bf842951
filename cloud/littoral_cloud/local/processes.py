"""Processes of ours, started as a user would start them, and ended with us whatever happens."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from littoral.errors import FleetError
from littoral.process.tether import tethered

READY_S = 180.0  # a bound on a machine with much else to do
DRAIN_S = 15.0


class Child:
    """One process. Its standard error, and what it prints after it is ready, go to a log file."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.pid = process.pid
        self._process = process
        self._log = log
        self._drain: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> Child:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                *tethered(
                    shutil.which(command[0]) or command[0], *command[1:]
                ),  # killed with -9, we leave no coordinator and no agent behind
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                env={**os.environ, **(environment or {})},
                start_new_session=True,  # a Ctrl-C at the terminal is ours alone; we end the children in order
            )
        return cls(name, process, log)

    async def ready_line(self, within_s: float = READY_S) -> str:
        """The first line that it prints. Raises FleetError with the end of its log where it ends before."""
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(within_s):
                line = await self._process.stdout.readline()
        except TimeoutError as error:
            raise FleetError(f"{self.name}: not ready after {within_s:.0f} s", hint=f"its log is {self._log}") from error
        if not line:
            await self._process.wait()
            raise FleetError(
                f"{self.name}: ended with {self._process.returncode}: {self.last_words()}", hint=f"its log is {self._log}"
            )
        self._drain = asyncio.create_task(self._keep_reading(), name=f"read {self.name}")
        return line.decode().strip()

    async def _keep_reading(self) -> None:
        assert self._process.stdout is not None
        with self._log.open("ab") as log:
            async for line in self._process.stdout:
                log.write(line)

    def last_words(self) -> str:
        """The error that it ended with, where it said one in JSON; else the last lines of its log."""
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return (_error_in(lines[-1]) if lines else "") or " / ".join(lines[-3:])

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    async def ended(self) -> int:
        """Its exit code, once it has ended."""
        return await self._process.wait()

    def rss_bytes(self) -> int:
        """Resident memory of the process itself, 0 where it is gone."""
        try:
            pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            return 0
        return pages * os.sysconf("SC_PAGE_SIZE")

    async def end(self) -> None:
        """SIGTERM, and SIGKILL to its whole session where it has not drained in time."""
        if self.running:
            self._process.terminate()
            try:
                async with asyncio.timeout(DRAIN_S):
                    await self._process.wait()
            except TimeoutError:
                os.killpg(self.pid, signal.SIGKILL)
                await self._process.wait()
        if self._drain is not None:
            await self._drain


async def run_to_end(name: str, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> str:
    """Runs a command and gives what it printed. Raises FleetError with its last words where it fails."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
    try:
        printed, _ = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        words = " / ".join(log.read_text(errors="replace").strip().splitlines()[-3:])
        raise FleetError(f"{name}: ended with {process.returncode}: {words}", hint=f"its log is {log}")
    return printed.decode().strip()


def beside(script: str) -> str:
    """A console script of this installation: the one beside this very Python."""
    return str(Path(sys.executable).with_name(script))


def _error_in(line: str) -> str:
    """Message and hint of an error as one line of JSON; "": it is none."""
    try:
        error = json.loads(line)["error"]
        return f"{error['message']} ({error['hint']})" if error.get("hint") else str(error["message"])
    except (ValueError, TypeError, KeyError, AttributeError):
        return ""
