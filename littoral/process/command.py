"""Commands of ours that run beside us, started as a user would start them. They end with us, also by kill -9.

Other than a worker (worker.py), a command answers no calls: it prints one line when it is ready, or prints its result and ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from littoral.errors import FleetError
from littoral.process.limits import how_ended
from littoral.process.tether import tethered

READY_S = 180.0
"""Bounds a start on a machine with much else to do."""
DRAIN_S = 15.0
_LINE = 1 << 24


class CommandFailed(FleetError):
    """A command that we started ended with an error, or was not ready in time; its last words are in the message."""

    code = "command-failed"


class Command:
    """One running command. Its stderr and what it prints go to a log file.

    Args:
        name: how messages call it.
    """

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        assert process.stdout is not None
        self.name = name
        self.pid = process.pid
        self._process = process
        self._log = log
        self._first_line: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._reading = asyncio.create_task(self._read(process.stdout), name=f"read {name}")

    @classmethod
    async def start(
        cls,
        name: str,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str] | None = None,
        *,
        how: signal.Signals = signal.SIGTERM,
    ) -> Command:
        """Args:
        environment: added to this process's own.
        how: the signal that ends it when this process has gone.

        Raises OSError.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                *tethered(shutil.which(command[0]) or command[0], *command[1:], how=how),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                limit=_LINE,
                env={**os.environ, **(environment or {})},
                start_new_session=True,  # a Ctrl-C at the terminal is ours alone; we end the commands in order
            )
        return cls(name, process, log)

    async def ready_line(self, within_s: float = READY_S) -> str:
        """The first line that it prints. Raises CommandFailed where it ends before, or is not ready in time."""
        try:
            async with asyncio.timeout(within_s):
                line = await asyncio.shield(self._first_line)
        except TimeoutError as error:
            raise CommandFailed(f"{self.name}: not ready after {within_s:.0f} s", hint=f"its log is {self._log}") from error
        if not line:
            raise _failed(self.name, await self._process.wait(), self.last_words(), f"its log is {self._log}")
        return line

    def last_words(self) -> str:
        """The error that it ended with, where its last line is one in JSON; else the last lines of its log."""
        return last_words(self._log.read_bytes())

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    async def ended(self) -> int:
        """Its return code, once it has ended and all that it printed is in the log."""
        code = await self._process.wait()
        await asyncio.wait([self._reading])
        return code

    def rss_bytes(self) -> int:
        """Resident memory of the process itself, 0 where it is gone."""
        try:
            pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            return 0
        return pages * os.sysconf("SC_PAGE_SIZE")

    async def end(self, drain_s: float = DRAIN_S) -> None:
        """SIGTERM, and SIGKILL to its whole session where it has not drained in time. 0: SIGKILL at once."""
        if self.running:
            if drain_s:
                self._process.terminate()
            try:
                async with asyncio.timeout(drain_s):
                    await self._process.wait()
            except TimeoutError:
                with suppress(ProcessLookupError):
                    os.killpg(self.pid, signal.SIGKILL)
                await self._process.wait()
        await asyncio.wait([self._reading])

    async def _read(self, stream: asyncio.StreamReader) -> None:
        with self._log.open("ab") as log:
            async for line in stream:
                log.write(line)
                log.flush()
                if not self._first_line.done():
                    self._first_line.set_result(line.decode(errors="replace").strip())
        if not self._first_line.done():
            self._first_line.set_result("")


async def run_to_end(
    name: str, command: Sequence[str], log: Path | None = None, environment: Mapping[str, str] | None = None
) -> str:
    """Runs a command and gives what it printed. Cancelled, it ends the command. Raises CommandFailed with its last words.

    Args:
        log: its stderr is added to this file; None: to none.
        environment: added to this process's own.
    """
    process = await asyncio.create_subprocess_exec(
        *tethered(shutil.which(command[0]) or command[0], *command[1:]),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **(environment or {})},
        start_new_session=True,
    )
    try:
        printed, errors = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as file:
            file.write(errors)
    if process.returncode:
        hint = f"its log is {log}" if log is not None else ""
        raise _failed(name, process.returncode, last_words(errors), hint)
    return printed.decode().strip()


def script(name: str) -> str:
    """A console script of this installation: the one beside this very Python."""
    return str(Path(sys.executable).with_name(name))


def last_words(errors: bytes) -> str:
    """Of what a command wrote: message and hint of the error that its last line is, in JSON; else the last three lines."""
    lines = errors.decode(errors="replace").strip().splitlines()
    try:
        error = json.loads(lines[-1])["error"]
        return f"{error['message']} ({error['hint']})" if error.get("hint") else str(error["message"])
    except (ValueError, TypeError, LookupError, AttributeError):
        return " / ".join(lines[-3:])


def _failed(name: str, code: int, words: str, hint: str) -> CommandFailed:
    return CommandFailed(f"{name}: ended with {how_ended(code)}: {words}", hint=hint)
