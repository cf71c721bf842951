"""A candidate measured and tried on its probe, as a node does it, in a process of the node's own:
littoral_node/measuring/measure.py.

Whoever asks for it has this side alone: the agent, for what it is offered; and the coordinator, which tries what it made before
it signs it, and imports nothing of the node for that (docs/decisions/0020).
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from littoral.child import how_ended, last_line
from littoral.manifest import Manifest

LIMIT_S = 120.0
"""For one candidate, once its turn has come."""
ABSENT = "runtime-absent"
"""The `failure` of a candidate whose runtime is not on this machine: it says nothing of the candidate."""
COMMAND: Sequence[str] = (sys.executable, "-m", "littoral_node.measuring.measure")
_LAST_WORDS = 4_000


@dataclass(frozen=True, slots=True)
class MeasurementResult:
    """The fields of littoral.fleet.v1.Measurement; `failure` is empty where it ran."""

    failure: str = ""
    detail: str = ""
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    p99_ms: float = 0.0
    peak_rss_bytes: int = 0
    start_ms: float = 0.0
    samples: int = 0
    load_average: float = 0.0
    runtime_version: str = ""
    energy_mj: float | None = None  # one inference; None: nothing is known
    energy_source: str = ""  # see littoral.budget.ESTIMATE


class Measurer:
    """Keeps one measuring process warm between candidates; `close` ends it and gives its memory back."""

    def __init__(
        self,
        threads: int,
        lock: Path | None,
        *,
        limit_s: float = LIMIT_S,
        machine_root: Path = Path("/"),
        command: Sequence[str] = COMMAND,
    ) -> None:
        self._command = command
        self._threads = threads
        self._machine_root = machine_root
        self._limit_s = limit_s
        self._lock = lock
        self._child: asyncio.subprocess.Process | None = None
        self._heard: asyncio.Task[bytes] | None = None

    async def measure(self, manifest: Manifest, folder: Path) -> MeasurementResult:
        """One candidate whose files lie, verified, in `folder`. A child that crashes or hangs is a failure of the candidate."""
        child = self._child or await self._start()
        assert child.stdin is not None
        assert child.stdout is not None
        request = {"folder": str(folder.resolve()), "manifest": manifest.encode().decode()}
        try:
            child.stdin.write(json.dumps(request).encode() + b"\n")
            await child.stdin.drain()
            turn = await child.stdout.readline()  # its turn has come: waiting for the lock is not the candidate's fault
            async with asyncio.timeout(self._limit_s):
                line = await child.stdout.readline() if turn else b""
        except TimeoutError:
            await self.close()
            return MeasurementResult(failure="runtime-hang", detail=f"{manifest.name}: no answer after {self._limit_s:g} s")
        except (BrokenPipeError, ConnectionResetError):
            line = b""
        except asyncio.CancelledError:
            await self.close()
            raise
        if not line:
            code, said = await child.wait(), await self._last_words()
            self._child = None
            how = f"{manifest.name}: its runtime ended with {how_ended(code)}"
            return MeasurementResult(failure="runtime-crash", detail=f"{how}: {said}" if said else how)
        return MeasurementResult(**json.loads(line))

    async def close(self) -> None:
        child, self._child = self._child, None
        if child is not None and child.returncode is None:
            child.kill()
            await child.wait()
            await self._last_words()

    async def _last_words(self) -> str:
        """Of a child that has ended: the last line that it wrote to stderr, of a traceback the one with the error."""
        heard, self._heard = self._heard, None
        return last_line(await heard) if heard is not None else ""

    async def _start(self) -> asyncio.subprocess.Process:
        lock = () if self._lock is None else ("--lock", str(self._lock.resolve()))
        self._child = await asyncio.create_subprocess_exec(
            *self._command,
            *("--parent", str(os.getpid()), "--threads", str(self._threads), "--machine-root", str(self._machine_root), *lock),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert self._child.stderr is not None
        self._heard = asyncio.create_task(_hear(self._child.stderr), name="hear a measuring process")
        return self._child


async def _hear(errors: asyncio.StreamReader) -> bytes:
    """Hands on what a child writes to stderr, until it ends; gives the end of it."""
    said = b""
    while part := await errors.read(65_536):
        sys.stderr.write(part.decode(errors="replace"))
        said = (said + part)[-_LAST_WORDS:]
    return said
