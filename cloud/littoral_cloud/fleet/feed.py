"""What one watcher has not heard of yet: a set, not a queue. A document that is written a hundred times while its watcher is busy
is announced to it once, with its newest generation, so a slow watcher costs no memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from littoral_cloud.fleet.ledger import Announcement


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

    async def __anext__(self) -> Announcement:
        while not self._waiting:
            self._woken.clear()
            await self._woken.wait()
        return self._waiting.pop(next(iter(self._waiting)))

    def drain(self) -> frozenset[Announcement]:
        waiting = frozenset(self._waiting.values())
        self._waiting.clear()
        return waiting

    def __len__(self) -> int:
        return len(self._waiting)
