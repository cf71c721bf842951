"""A Redis Cluster of three primaries, each with one replica, whose servers may be killed."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.crc import key_slot
from redis.exceptions import RedisError

from littoral_cloud.store.binary import find_binary
from littoral_cloud.store.connection import Endpoint, endpoint_from
from tests.kit.patience import PATIENCE_S
from tests.kit.ports import lasting_port

SLOTS = 16_384
PRIMARIES = 3
BUS = 10_000
"""Servers talk with each other at their port and this."""


def _port_with_bus() -> int:
    while True:
        port = lasting_port()
        with socket.socket() as bus:
            try:
                bus.bind(("127.0.0.1", port + BUS))
            except (OSError, OverflowError):
                continue
            return port


class ServersOfACluster:
    """By port: the first three are primaries at the start, and each of the others the replica of one of them."""

    def __init__(self, folder: Path) -> None:
        self.ports = [_port_with_bus() for _ in range(2 * PRIMARIES)]
        self._folder = folder
        self._processes: dict[int, asyncio.subprocess.Process] = {}

    def endpoint(self, replicas: int, ports: list[int] | None = None) -> Endpoint:
        hosts = ",".join(f"127.0.0.1:{port}" for port in ports or self.ports[:2])
        return endpoint_from(f"redis+cluster://{hosts}", None, replicas)

    async def start(self) -> None:
        for port in self.ports:
            await self.restart(port)
        async with asyncio.timeout(PATIENCE_S):
            for number, port in enumerate(self.ports[:PRIMARIES]):
                ends = [SLOTS * end // PRIMARIES for end in (number, number + 1)]
                await self._tell(port, "CLUSTER", "ADDSLOTS", *range(*ends))
            for port in self.ports[1:]:
                await self._tell(self.ports[0], "CLUSTER", "MEET", "127.0.0.1", port)
            ids = [(await self._tell(port, "CLUSTER", "MYID")).decode() for port in self.ports]
            for number, port in enumerate(self.ports[PRIMARIES:]):
                await self._follow(port, ids[number])
            for port in self.ports:
                await self._until_whole(port)

    async def owner(self, fleet: str) -> int:
        """The port of the server that has the slot of a fleet, by the first one that answers."""
        slot = key_slot(f"{{{fleet}}}".encode())
        for port in self.ports:
            try:
                for first, last, primary, *_ in await self._tell(port, "CLUSTER", "SLOTS"):
                    if first <= slot <= last:
                        return int(primary[1])
            except (RedisError, OSError):
                continue
        raise LookupError(f"nobody has slot {slot}")

    async def another_owner(self, fleet: str, before: int) -> None:
        """Waits until a replica has taken over."""
        while await self.owner(fleet) == before:  # noqa: ASYNC110 - servers do not say when they have voted
            await asyncio.sleep(0.1)

    def kill(self, port: int) -> None:
        self._processes[port].send_signal(signal.SIGKILL)

    async def restart(self, port: int) -> None:
        if port in self._processes:
            await self._processes[port].wait()
        folder = self._folder / str(port)
        folder.mkdir(exist_ok=True)
        self._processes[port] = await asyncio.create_subprocess_exec(
            find_binary().path,
            *("--port", str(port), "--bind", "127.0.0.1", "--appendonly", "yes", "--save", ""),
            *("--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--repl-diskless-sync-delay", "0"),
            cwd=folder,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        async with asyncio.timeout(PATIENCE_S):
            await self._until(port, "PING", lambda reply: reply == b"PONG")

    async def move_slot(self, fleet: str, to: int) -> None:
        """All keys of a fleet go to another primary, as `redis-cli --cluster reshard` does it."""
        slot, owner = key_slot(f"{{{fleet}}}".encode()), await self.owner(fleet)
        ids = {port: (await self._tell(port, "CLUSTER", "MYID")).decode() for port in (owner, to)}
        await self._tell(to, "CLUSTER", "SETSLOT", slot, "IMPORTING", ids[owner])
        await self._tell(owner, "CLUSTER", "SETSLOT", slot, "MIGRATING", ids[to])
        while keys := await self._tell(owner, "CLUSTER", "GETKEYSINSLOT", slot, 10):
            await self._tell(owner, "MIGRATE", "127.0.0.1", to, "", 0, 5000, "KEYS", *keys)
        for port in (to, owner):
            await self._tell(port, "CLUSTER", "SETSLOT", slot, "NODE", ids[to])

    async def stop(self) -> None:
        for process in self._processes.values():
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def _follow(self, port: int, primary: str) -> None:
        """Once it has heard of its primary."""
        while True:
            try:
                await self._tell(port, "CLUSTER", "REPLICATE", primary)
                return
            except RedisError:
                await asyncio.sleep(0.05)

    async def _until_whole(self, port: int) -> None:
        def whole(reply: bytes) -> bool:
            return b"cluster_state:ok" in reply and f"cluster_known_nodes:{len(self.ports)}".encode() in reply

        await self._until(port, "CLUSTER INFO", whole)
        online = b"master_link_status:up" if self.ports.index(port) >= PRIMARIES else b"state=online"
        await self._until(port, "INFO replication", lambda reply: online in reply)

    async def _until(self, port: int, command: str, holds: Callable[[Any], bool]) -> None:
        while True:  # servers do not say when they have found each other
            try:
                if holds(await self._tell(port, *command.split())):
                    return
            except (RedisError, OSError):
                pass
            await asyncio.sleep(0.05)

    async def _tell(self, port: int, *words: str | int | bytes) -> Any:
        async with Redis(port=port, protocol=2, legacy_responses=False) as server:
            connection = server.connection_pool.make_connection()
            try:
                await connection.connect()
                await connection.send_command(*words)
                return await connection.read_response()
            finally:
                await connection.disconnect(nowait=True)


@asynccontextmanager
async def cluster_of_servers(folder: Path) -> AsyncIterator[ServersOfACluster]:
    servers = ServersOfACluster(folder)
    try:
        await servers.start()
        yield servers
    finally:
        await servers.stop()
