"""The Redis of a run: one server behind a proxy, or three under sentinels."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from bench.chaos.proxy import Proxy, proxied
from littoral.process.tether import tethered
from littoral_cloud.store.binary import find_binary
from littoral_cloud.store.connection import Endpoint
from littoral_cloud.store.redis_ledger import RedisLedger
from tests.kit.ports import lasting_port
from tests.kit.sentinels import Watched, watched_servers


class OneServer:
    """With the options of the embedded one. `url`: for the coordinators, through the proxy; `direct`: for who watches them."""

    replicas = 0

    def __init__(self, folder: Path, proxy: Proxy, port: int) -> None:
        self.proxy = proxy
        self.socket = folder / "r.sock"
        self.url, self.direct = f"redis://127.0.0.1:{port}/0", f"unix://{self.socket}"
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        options = ("--port", "0", "--unixsocket", str(self.socket), "--dir", str(self._folder), "--save", "")
        self._process = await asyncio.create_subprocess_exec(
            *tethered(find_binary().path, *options, "--appendonly", "yes", "--appendfsync", "no"),
            stdout=asyncio.subprocess.DEVNULL,
        )
        async with RedisLedger.open(Endpoint(socket=self.socket), lambda: 0.0):
            pass  # it answers

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


class SentinelServers:
    """No proxy: sentinels name the servers themselves."""

    replicas = 1

    def __init__(self, watched: Watched) -> None:
        self.watched = watched
        self.url = self.direct = watched.endpoint(self.replicas).url or ""

    async def fail_over(self) -> None:
        """Kills the primary, waits for another one, and has the first one come back as its replica."""
        old = await self.watched.primary()
        self.watched.kill(old)
        while (new := await self.watched.primary()) == old:  # noqa: ASYNC110 - sentinels do not say when they have chosen
            await asyncio.sleep(0.1)
        await self.watched.restart(old, new)


@asynccontextmanager
async def one_server(folder: Path) -> AsyncIterator[OneServer]:
    port = lasting_port()
    async with proxied("127.0.0.1", port, [folder / "r.sock"]) as proxy:
        server = OneServer(folder, proxy, port)
        try:
            await server.start()
            yield server
        finally:
            await server.kill()


@asynccontextmanager
async def servers(folder: Path, *, sentinels: bool) -> AsyncIterator[OneServer | SentinelServers]:
    folder.mkdir()
    async with AsyncExitStack() as stack:
        if sentinels:
            yield SentinelServers(await stack.enter_async_context(watched_servers(folder)))
        else:
            yield await stack.enter_async_context(one_server(folder))
