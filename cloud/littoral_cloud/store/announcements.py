"""One subscription of this process, handed on to all who watch.

A watcher's announcements are a set, not a queue: a document that is written a hundred times while its watcher is busy is
announced to it once, so a slow watcher costs no memory.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

from littoral.errors import Unavailable
from littoral_cloud.fleet.ledger import Announcement
from littoral_cloud.store.connection import BACKOFF, Connections

log = logging.getLogger(__name__)

HEARTBEAT_S = 15.0  # a connection that is silent for this long is asked; silent for this long again, it is dead
CANCEL_AGAIN_S = 0.5


class Watcher(AsyncIterator[Announcement]):
    """Announcements of some kinds. After a break every kind is announced with the id "": read everything of it again."""

    def __init__(self, kinds: frozenset[str]) -> None:
        self.kinds = kinds
        self._waiting: dict[Announcement, None] = {}
        self._woken = asyncio.Event()

    def tell(self, announcement: Announcement) -> None:
        self._waiting[announcement] = None
        self._woken.set()

    async def __anext__(self) -> Announcement:
        while not self._waiting:
            self._woken.clear()
            await self._woken.wait()
        first = next(iter(self._waiting))
        del self._waiting[first]
        return first


class Announcements:
    """Listens on one channel, on a connection of its own, and comes back when Redis does."""

    def __init__(self, connections: Connections, channel: str) -> None:
        self._connections = connections
        self._channel = channel
        self._watchers: set[Watcher] = set()
        self._listening = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def join(self, kinds: frozenset[str]) -> Watcher:
        """From here on nothing is missed. Raises Unavailable where Redis stays away."""
        watcher = Watcher(kinds)
        self._watchers.add(watcher)
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        try:
            async with asyncio.timeout(self._connections.patience_s):
                await self._listening.wait()
        except TimeoutError as error:
            self.leave(watcher)
            raise Unavailable(f"redis: cannot listen at {self._connections.endpoint}", hint="start Redis again") from error
        except BaseException:
            self.leave(watcher)
            raise
        return watcher

    def leave(self, watcher: Watcher) -> None:
        self._watchers.discard(watcher)

    async def close(self) -> None:
        if self._task is not None:
            while not self._task.done():  # what ends us may come while redis-py is in between: ask again
                self._task.cancel()
                await asyncio.wait({self._task}, timeout=CANCEL_AGAIN_S)
            self._task = None

    async def _run(self) -> None:
        attempt = 0
        broken = False
        while True:
            connection = self._connections.listener()
            try:
                await connection.connect()  # type: ignore[no-untyped-call]
                await connection.send_command("SUBSCRIBE", self._channel)
                await connection.read_response(timeout=HEARTBEAT_S)
                if broken:
                    self._tell_all()
                self._listening.set()
                attempt = 0
                await self._hear(connection)
            except (RedisError, OSError) as error:
                log.warning("redis: announcements stopped (%s); listening again", error)
                broken = True
            finally:
                self._listening.clear()
                await connection.disconnect(nowait=True)
            await asyncio.sleep(BACKOFF.pause_s(attempt, self._connections.rng))
            attempt += 1

    async def _hear(self, connection: AbstractConnection) -> None:
        asked = False
        while True:
            reply = await connection.read_response(timeout=HEARTBEAT_S)
            if reply is None:
                if asked:
                    raise ConnectionError("nothing heard, not even an answer to a ping")
                await connection.send_command("PING", check_health=False)
                asked = True
                continue
            asked = False
            if isinstance(reply, list) and bytes(reply[0]) == b"message":
                kind, _, id = bytes(reply[2]).decode().partition(" ")
                announcement = Announcement(kind, id)
                for watcher in self._watchers:
                    if kind in watcher.kinds:
                        watcher.tell(announcement)

    def _tell_all(self) -> None:
        for watcher in self._watchers:
            for kind in sorted(watcher.kinds):
                watcher.tell(Announcement(kind, ""))
