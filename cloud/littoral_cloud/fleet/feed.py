"""What one watcher has not heard of yet: a set, not a queue. A document that is written a hundred times while its watcher is busy
is announced to it once, with its newest generation, so a slow watcher costs no memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from littoral_cloud.fleet.ledger import Announcement, AnnouncementFeed


class AnnouncementQueue(AsyncIterator[Announcement]):
    """Implements littoral_cloud.fleet.ledger.AnnouncementFeed, for announcements of some kinds."""

    def __init__(self, kinds: frozenset[str]) -> None:
        self.kinds = kinds
        self._waiting: dict[Announcement, Announcement] = {}
        self._woken = asyncio.Event()
        self.since = 0.0

    def put(self, announcement: Announcement) -> None:
        """In place of an earlier one of the same document."""
        if not self._waiting:
            self.since = asyncio.get_running_loop().time()
        self._waiting.pop(announcement, None)
        self._waiting[announcement] = announcement
        self._woken.set()

    def put_all_again(self) -> None:
        """Everything of each kind has to be read again."""
        for kind in sorted(self.kinds):
            self.put(Announcement(kind, ""))

    async def waiting(self) -> None:
        while not self._waiting:
            self._woken.clear()
            await self._woken.wait()

    async def __anext__(self) -> Announcement:
        await self.waiting()
        return self._waiting.pop(next(iter(self._waiting)))

    def drain(self) -> frozenset[Announcement]:
        waiting = frozenset(self._waiting.values())
        self._waiting.clear()
        return waiting

    def __len__(self) -> int:
        return len(self._waiting)


class Watchers:
    """All that watch one source of announcements."""

    def __init__(self) -> None:
        self._queues: set[AnnouncementQueue] = set()

    def join(self, kinds: frozenset[str]) -> AnnouncementQueue:
        queue = AnnouncementQueue(kinds)
        self._queues.add(queue)
        return queue

    def leave(self, queue: AnnouncementQueue) -> None:
        self._queues.discard(queue)

    @asynccontextmanager
    async def watch(self, *kinds: str) -> AsyncIterator[AnnouncementFeed]:
        queue = self.join(frozenset(kinds))
        try:
            yield queue
        finally:
            self.leave(queue)

    def announce(self, announcement: Announcement) -> None:
        for queue in self._queues:
            if announcement.kind in queue.kinds:
                queue.put(announcement)

    def announce_all(self) -> None:
        """Everything has to be read again."""
        for queue in self._queues:
            queue.put_all_again()
