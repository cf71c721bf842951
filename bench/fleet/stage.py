"""The coordinator of the benchmark: `littoral-cloud serve` with its embedded Redis, in a folder of its own, as an operator starts
it.

A real release of a table, made once by `littoral-cloud train`, lies in each folder from the start.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import redis
from littoral.process.command import Command, run_to_end, script
from littoral_cloud.app import Core, open_core
from littoral_cloud.releases.catalogue import all_releases
from littoral_cloud.settings import load_settings

PLACE = Path("build/bench-fleet")
RECIPE = Path(__file__).with_name("table.toml")
MODEL = "table"
WRITERS = ("cloud/littoral_cloud/store", "cloud/littoral_cloud/releases", "littoral/manifest.py", str(RECIPE))
CLOUD = script("littoral-cloud")
COUNTS_S = 60.0
"""So long a coordinator may take to say its counts: its loop may be busy."""


@dataclass(frozen=True, slots=True)
class Given:
    """What the command line says.

    Args:
        seconds: None: the part's own.
        place: for the data folders.
        trained: a release is there; else one is only named, for a run that needs none.
    """

    nodes: int
    seconds: float | None = None
    place: Path = PLACE
    trained: bool = True


@dataclass(frozen=True, slots=True)
class MadeRelease:
    id: str
    digests: tuple[str, ...]  # of the manifests


class Stage:
    """One data folder, and the coordinator that serves it, where it runs."""

    def __init__(self, root: Path, release: MadeRelease, first: Stage | None = None) -> None:
        self.root = root
        self.release = release
        self.data = root / "cloud"
        self.log = root / "coordinator.log"
        self._first = first
        self._command: Command | None = None
        self._ports = ("0", "0")

    @property
    def environment(self) -> dict[str, str]:
        own = {"LITTORAL_DATA_DIR": str(self.data), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": ""}  # as installed
        if (first := self._first) is None:
            return own
        socket = (first.data / "redis" / "socket").read_text().strip()
        shared = {"REDIS_URL": f"unix://{socket}", "KEYS_DIR": str(first.data), "BLOBS": str(first.data / "blobs")}
        return own | {f"LITTORAL_{name}": value for name, value in shared.items()}

    async def start(self, *options: str) -> float:
        """Starts the coordinator, on the same ports as before; gives the seconds until it was ready."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        enrolment, fleet = self._ports
        command = [
            CLOUD,
            "serve",
            "--enrolment-port",
            enrolment,
            "--fleet-port",
            fleet,
            "--api-port",
            "0",
            "--format",
            "json",
            *options,
        ]
        self._command = await Command.start("coordinator", command, self.log, self.environment)
        ready = json.loads(await self._command.ready_line(600))
        self._ports = (ready["enrolment"].rpartition(":")[2], ready["fleet"].rpartition(":")[2])
        return loop.time() - began

    @property
    def pid(self) -> int:
        assert self._command is not None
        return self._command.pid

    @property
    def redis_pid(self) -> int:
        return int((self.data / "redis" / "redis.pid").read_text())

    @asynccontextmanager
    async def another(self, number: int) -> AsyncIterator[Stage]:
        """A further coordinator of this fleet, which runs, on this one's Redis."""
        stage = Stage(self.root / f"coordinator-{number}", self.release, self)
        stage.root.mkdir()
        try:
            await stage.start()
            yield stage
        finally:
            await stage.end()

    async def kill(self) -> None:
        """By kill -9; its Redis goes with it."""
        assert self._command is not None
        os.kill(self._command.pid, signal.SIGKILL)
        await self._command.ended()
        await self._command.end()

    async def end(self) -> None:
        if self._command is not None:
            await self._command.end()

    async def cloud(self, *words: str) -> str:
        """Runs a command of littoral-cloud; gives what it printed."""
        return await run_to_end(words[0], [CLOUD, *words], self.root / "commands.log", self.environment)

    @asynccontextmanager
    async def core(self) -> AsyncIterator[Core]:
        """As a command has it. Not while the coordinator is down: a command would start its Redis."""
        async with open_core(load_settings(data_dir=self.data)) as core:
            yield core

    def redis(self) -> redis.Redis:
        return redis.Redis(unix_socket_path=(self.data / "redis" / "socket").read_text())

    async def counts(self) -> dict[str, int]:
        """What the coordinator says of itself; see `littoral-cloud serve --help`."""
        before = self.log.stat().st_size
        os.kill(self.pid, signal.SIGUSR1)
        async with asyncio.timeout(COUNTS_S):
            while True:
                with self.log.open("rb") as log:
                    log.seek(before)
                    for line in log.read().decode(errors="replace").splitlines(keepends=True):
                        _, found, counts = line.partition("counts: ")
                        if found and line.endswith("\n"):
                            return dict(json.loads(counts))
                await asyncio.sleep(0.02)


@asynccontextmanager
async def staged(part: str, given: Given) -> AsyncIterator[Stage]:
    """A new folder with the release in it; what runs there ends with the context, the folder stays for its logs."""
    root = (given.place / f"{part}-{given.nodes}").absolute()
    shutil.rmtree(root, ignore_errors=True)
    if given.trained:
        with _alone():
            template = await _template()
        shutil.copytree(template / "cloud", root / "cloud")
        made: dict[str, Any] = json.loads((template / "release.json").read_text())
        stage = Stage(root, MadeRelease(made["id"], tuple(made["digests"])))
    else:
        root.mkdir(parents=True)
        stage = Stage(root, MadeRelease("table-1", (f"sha256:{'0' * 64}",)))
    try:
        yield stage
    finally:
        await stage.end()


@contextmanager
def _alone() -> Iterator[None]:
    """Of two parts that start at once, one trains and the other waits for it."""
    PLACE.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(PLACE, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


async def _template() -> Path:
    place = (PLACE / f"release-{_written_by()}").absolute()
    if (place / "release.json").exists():
        return place
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    rng = np.random.default_rng(3)
    y = np.arange(900) % 3
    np.savez(place / "table.npz", x=rng.normal(size=(900, 8)) + 3 * np.eye(8)[y], y=y)
    stage = Stage(place, MadeRelease("", ()))
    await stage.cloud("train", "--data", str(place / "table.npz"), "--recipe", str(RECIPE), "--yes")
    async with stage.core() as core:
        [release] = await all_releases(core.ledger)
    made = MadeRelease(release.release_id, release.artifacts)
    (place / "release.json").write_text(json.dumps(asdict(made)))
    return place


def _written_by() -> str:
    """The last commit that changed how a release lies in a data folder."""
    log = ["git", "log", "-1", "--format=%h", "--", *WRITERS]
    return subprocess.run(log, capture_output=True, text=True, check=True).stdout.strip()


async def join_line(stage: Stage, nodes: int) -> str:
    return await stage.cloud("token", "create", "--name", "load", "--uses", str(nodes), "--ttl", "1h")
