"""One reader of the stream of changes in this process, for all who watch.

Rules, in order:

1. The reader starts at the newest entry, and remembers the last one that it has read. After a break it goes on behind that one,
   so that nothing is lost while Redis is away.
2. Where the last one is not in the stream any more, or entries between it and the next one are missing, every watcher hears of
   each of its kinds with the id "": read everything of it again. That happens after more changes than the stream holds, and
   where Redis came back with older data.
3. An announcement in another form than ours, as a later release may write it, announces its kind with the id "".

Example: the last entry read is 41-7; Redis restarts; the next entries are 42 and 43. They are announced as if nothing had been.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

from littoral.errors import Unavailable
from littoral_cloud.fleet.feed import AnnouncementQueue, Watchers
from littoral_cloud.fleet.ledger import Announcement
from littoral_cloud.store.connection import BACKOFF, Connections

log = logging.getLogger(__name__)

BLOCK_S = 15.0  # so long Redis may have nothing to say; then it is asked again
HEARTBEAT_S = 2 * BLOCK_S  # a connection that is silent for this long is dead
AT_ONCE = 1000  # entries
CANCEL_AGAIN_S = 0.5
_START = (0, 0)  # before the first entry


class Announcements:
    """Reads the stream on a connection of its own, and comes back when Redis does.

    Args:
        stream, count: keys of the stream of changes and of its counter.
    """

    def __init__(self, connections: Connections, stream: str, count: str) -> None:
        self._connections = connections
        self._stream = stream
        self._count = count
        self._watchers = Watchers()
        self._listening = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._moved = asyncio.Condition()
        self._last: tuple[int, int] | None = None  # number and nonce of the last entry that was read; None: of none yet

    async def join(self, kinds: frozenset[str]) -> AnnouncementQueue:
        """From here on nothing is missed. Raises Unavailable where Redis stays away."""
        watcher = self._watchers.join(kinds)
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

    async def passed(self, number: int) -> None:
        """Returns once the entry of this number was read. Somebody has to have joined."""
        async with self._moved:
            await self._moved.wait_for(lambda: self._last is not None and self._last[0] >= number)

    def leave(self, watcher: AnnouncementQueue) -> None:
        self._watchers.leave(watcher)

    async def close(self) -> None:
        if self._task is not None:
            while not self._task.done():  # what ends us may come while redis-py is in between: ask again
                self._task.cancel()
                await asyncio.wait({self._task}, timeout=CANCEL_AGAIN_S)
            self._task = None

    async def _run(self) -> None:
        attempt = 0
        while True:
            connection = self._connections.listener()
            try:
                await connection.connect()  # type: ignore[no-untyped-call]
                await self._find_place(connection)
                self._listening.set()
                attempt = 0
                while True:
                    async with self._moved:
                        self._moved.notify_all()
                    await self._read(connection)
            except (RedisError, OSError) as error:
                log.warning("redis: announcements stopped (%s); listening again", error)
            finally:
                self._listening.clear()
                await connection.disconnect(nowait=True)
            await asyncio.sleep(BACKOFF.pause_s(attempt, self._connections.rng))
            attempt += 1

    async def _find_place(self, connection: AbstractConnection) -> None:
        """At the newest entry at first; after a break behind the last one that was read, if it is still there."""
        if self._last == _START or (
            self._last is not None and await _ask(connection, "XRANGE", self._stream, _id(*self._last), _id(*self._last))
        ):
            return
        newest = await _ask(connection, "XREVRANGE", self._stream, "+", "-", "COUNT", 1)
        if self._last is not None:
            self._watchers.announce_all()
        self._last = _number_and_nonce(newest[0][0]) if newest else _START

    async def _read(self, connection: AbstractConnection) -> None:
        assert self._last is not None
        asked = ("XREAD", "COUNT", AT_ONCE, "BLOCK", int(BLOCK_S * 1000), "STREAMS", self._stream, _id(*self._last))
        reply = await _ask(connection, *asked)
        for id, fields in reply[0][1] if reply else ():
            number, nonce = _number_and_nonce(id)
            if number != self._last[0] + 1:
                log.warning("redis: changes %d to %d were cut off before they were read", self._last[0] + 1, number - 1)
                self._watchers.announce_all()
            self._last = number, nonce
            self._announce(fields)

    def _announce(self, fields: Sequence[bytes]) -> None:
        for kind, written in zip(fields[::2], fields[1::2], strict=True):
            generation, _, id = written.decode(errors="replace").partition(" ")
            known = bool(id) and generation.isdecimal()
            name = kind.decode(errors="replace")
            self._watchers.announce(Announcement(name, id, int(generation)) if known else Announcement(name, "", 0))


async def _ask(connection: AbstractConnection, *command: str | int) -> Any:
    loop = asyncio.get_running_loop()
    asked = loop.time()
    await connection.send_command(*command)
    reply = await connection.read_response(timeout=HEARTBEAT_S)
    if reply is None and loop.time() - asked >= HEARTBEAT_S:
        raise ConnectionError("nothing heard, not even that there is no news")
    return reply


def _id(number: int, nonce: int) -> str:
    return f"{number}-{nonce}"


def _number_and_nonce(id: bytes) -> tuple[int, int]:
    number, _, nonce = id.partition(b"-")
    return int(number), int(nonce)
