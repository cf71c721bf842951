"""A redis-server that a test may kill, and fleets that no other test sees."""

from __future__ import annotations

import asyncio
import itertools
import os
from pathlib import Path

from littoral_cloud.store.binary import find_binary
from littoral_cloud.store.connection import Endpoint
from littoral_cloud.store.redis_ledger import RedisLedger

_fleets = itertools.count(1)


def next_fleet() -> str:
    """A fleet that no other test sees."""
    return f"test-{os.getpid()}-{next(_fleets)}"


class MortalRedis:
    """A server that a test kills and starts again on the same data."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.socket = folder / "r.sock"
        self.endpoint = Endpoint(socket=self.socket)
        self._options = options
        self._process: asyncio.subprocess.Process | None = None

    def endpoint_under(self, name: str) -> Endpoint:
        return Endpoint(socket=self.folder / name)

    async def start(self, under: str = "r.sock") -> None:
        """Args:
        under: another name of the socket, so that who uses the first one does not find it.
        """
        self._process = await asyncio.create_subprocess_exec(
            find_binary().path,
            *("--port", "0", "--unixsocket", str(self.folder / under), "--dir", str(self.folder), "--save", ""),
            *("--appendonly", "yes", "--appendfsync", "no", "--daemonize", "no", *self._options),
            stdout=asyncio.subprocess.DEVNULL,
        )
        endpoint = self.endpoint if under == self.socket.name else self.endpoint_under(under)
        async with RedisLedger.open(endpoint, lambda: 0.0):
            pass  # it answers

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
