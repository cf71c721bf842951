"""Three Redis servers, of which one is the primary, and three sentinels that choose another one when it dies."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import RedisError

from littoral_cloud.store.binary import find_binary
from littoral_cloud.store.connection import Endpoint, endpoint_from
from tests.kit.patience import PATIENCE_S
from tests.kit.ports import lasting_port

SERVICE = "fleet"


class Watched:
    """Servers by port, under the eyes of three sentinels."""

    def __init__(self, folder: Path) -> None:
        self.servers = [lasting_port() for _ in range(3)]
        self.sentinels = [lasting_port() for _ in range(3)]
        self._folder = folder
        self._processes: dict[int, asyncio.subprocess.Process] = {}

    def endpoint(self, replicas: int) -> Endpoint:
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.sentinels)
        return endpoint_from(f"redis+sentinel://{hosts}/{SERVICE}", None, replicas)

    async def start(self) -> None:
        first, *others = self.servers
        for port in self.servers:
            await self._start_server(port, first if port in others else None)
        for port in self.sentinels:
            file = self._folder / f"sentinel-{port}.conf"
            file.write_text(
                f"port {port}\nbind 127.0.0.1\ndir {self._folder}\n"
                f"sentinel monitor {SERVICE} 127.0.0.1 {first} 2\n"
                f"sentinel down-after-milliseconds {SERVICE} 1000\nsentinel failover-timeout {SERVICE} 3000\n"
            )
            await self._start(port, str(file), "--sentinel")
        async with asyncio.timeout(PATIENCE_S):
            while not await self._settled():  # noqa: ASYNC110 - sentinels do not say when they have found each other
                await asyncio.sleep(0.1)

    async def primary(self) -> int:
        """The port of the server that the sentinels take for the primary."""
        async with Redis(port=self.sentinels[0]) as sentinel:
            found = await sentinel.execute_command("SENTINEL GET-MASTER-ADDR-BY-NAME", SERVICE)
        return int(found[1])

    def kill(self, port: int) -> None:
        self._processes[port].send_signal(signal.SIGKILL)

    async def restart(self, port: int, primary: int) -> None:
        """A server that was killed comes back as a replica."""
        await self._processes[port].wait()
        await self._start_server(port, primary)

    async def stop(self) -> None:
        for process in self._processes.values():
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def _start_server(self, port: int, primary: int | None) -> None:
        follow = ("--replicaof", "127.0.0.1", str(primary)) if primary is not None else ()
        await self._start(
            port, "--port", str(port), "--appendonly", "yes", "--save", "", "--repl-diskless-sync-delay", "0", *follow
        )

    async def _start(self, port: int, *options: str) -> None:
        folder = self._folder / str(port)
        folder.mkdir(exist_ok=True)
        self._processes[port] = await asyncio.create_subprocess_exec(
            find_binary().path, *options, cwd=folder, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )

    async def _settled(self) -> bool:
        """Whether both replicas follow the primary, and each sentinel knows the others and both replicas."""
        try:
            async with Redis(port=self.servers[0]) as server:
                info = await server.info("replication")
                if sum(info.get(f"slave{n}", {}).get("state") == "online" for n in range(2)) < 2:
                    return False
            for port in self.sentinels:
                async with Redis(port=port) as sentinel:
                    known = await sentinel.execute_command("SENTINEL MASTER", SERVICE)
                    fields = known if isinstance(known, dict) else dict(zip(known[::2], known[1::2], strict=True))
                    if (int(fields["num-slaves"]), int(fields["num-other-sentinels"])) != (2, 2):
                        return False
        except (RedisError, OSError):
            return False
        return True


@asynccontextmanager
async def watched_servers(folder: Path) -> AsyncIterator[Watched]:
    servers = Watched(folder)
    try:
        await servers.start()
        yield servers
    finally:
        await servers.stop()
