"""What one node has fetched: a download takes the time that its bytes need on the node's link, and goes on at the byte."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import suppress

from littoral_cloud.simulate.surroundings import Surroundings


class Downloads:
    """Args:
    bytes_s: of the node's link.
    online, ended: whether the node has a session, and whether its last one has ended.
    """

    def __init__(self, around: Surroundings, bytes_s: float, online: asyncio.Event, ended: asyncio.Event) -> None:
        self._around = around
        self._bytes_s = bytes_s
        self._online, self._ended = online, ended
        self._fetched: defaultdict[str, float] = defaultdict(float)  # bytes of each artifact that are on the disk
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)  # it may be measured and updated to at one time

    async def fetch(self, digest: str) -> bool:
        """False where the connection is lost first; the next try goes on at the byte."""
        async with self._locks[digest]:
            size = self._around.artifacts[digest].bytes
            while (left := size - self._fetched[digest]) >= 1:
                if not self._online.is_set():
                    return False
                began = self._around.clock()
                with suppress(TimeoutError):
                    async with asyncio.timeout(left / self._bytes_s):
                        await self._ended.wait()
                came = min(left, (self._around.clock() - began) * self._bytes_s + 1)  # 1: for what rounding lost
                self._fetched[digest] += came
                self._around.books.blob_bytes += round(came)
            return True
