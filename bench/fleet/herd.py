"""The processes that hold the sessions (driver.py), as a benchmark steers them."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from littoral.process.tether import tethered

NODES_A_PROCESS = 1_000
LOOK_S = 0.2


class Herd:
    """Nodes, in equal shares a process."""

    def __init__(self, nodes: int, processes: list[asyncio.subprocess.Process]) -> None:
        self.nodes = nodes
        self._processes = processes
        self._share = -(-nodes // len(processes))

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes]

    async def ask(self, **command: Any) -> list[dict[str, Any]]:
        """The same of each process; their answers."""
        return list(await asyncio.gather(*(_asked(process, command) for process in self._processes)))

    async def enrol(self, lines: Sequence[str], model: str, digest: str) -> float:
        """Gives the seconds that it took. One process after another: a fleet is not enrolled in one moment.

        Args:
            lines: join lines, which the processes use in turn.
        """
        seconds = 0.0
        for i, process in enumerate(self._processes):
            first = i * self._share
            own = {"nodes": min(self._share, self.nodes - first), "first": first, "model": model, "digest": digest}
            seconds += (await _asked(process, {"do": "enrol", "line": lines[i % len(lines)], **own}))["seconds"]
        return seconds

    async def counts(self) -> dict[str, float]:
        """Added up; `last_welcome_at` is the latest."""
        added: Counter[str] = Counter()
        for each in await self.ask(do="counts"):
            latest = max(added["last_welcome_at"], each["last_welcome_at"])
            added.update(each)
            added["last_welcome_at"] = latest
        return dict(added)

    async def listed(self) -> list[list[Any]]:
        """[node id, boot id, number of the last acknowledged report, generation of the desired state, when that came] each."""
        return [node for each in await self.ask(do="nodes") for node in each["nodes"]]

    async def all_connected(self, within_s: float) -> dict[str, float]:
        """The counts, when every node has its session or the time is over."""
        return await self._until(lambda counts: counts["connected"] >= self.nodes, within_s)

    async def all_acknowledged(self, within_s: float) -> dict[str, float]:
        return await self._until(lambda counts: counts["waiting"] == 0, within_s)

    async def _until(self, enough: Any, within_s: float) -> dict[str, float]:
        until = time.monotonic() + within_s
        while True:
            counts = await self.counts()
            if enough(counts) or time.monotonic() >= until:
                return counts
            await asyncio.sleep(LOOK_S)

    async def end(self) -> None:
        for process in self._processes:
            if process.returncode is None:
                assert process.stdin is not None
                process.stdin.close()
        for process in self._processes:
            try:
                async with asyncio.timeout(30):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


@asynccontextmanager
async def herd_of(nodes: int, log: Path, least: int = 1) -> AsyncIterator[Herd]:
    """`least`: processes."""
    processes = []
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "GRPC_VERBOSITY": "ERROR"}
    with log.open("ab") as errors:
        for _ in range(max(least, -(-nodes // NODES_A_PROCESS))):
            command = tethered(sys.executable, "-m", "bench.fleet.driver")
            pipe = asyncio.subprocess.PIPE
            process = await asyncio.create_subprocess_exec(
                *command, stdin=pipe, stdout=pipe, stderr=errors, limit=1 << 24, env=environment
            )
            processes.append(process)
    herd = Herd(nodes, processes)
    try:
        yield herd
    finally:
        await herd.end()


async def _asked(process: asyncio.subprocess.Process, command: dict[str, Any]) -> dict[str, Any]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(command).encode() + b"\n")
    if not (line := await process.stdout.readline()):
        raise RuntimeError(f"the driver ended with {await process.wait()}: see its log")
    answer: dict[str, Any] = json.loads(line)
    return answer
