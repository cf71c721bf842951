"""Leases: one holder at a time, and a token that grows with every holder, so that a write of an old one is refused."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from littoral.errors import FleetError, LostLease
from littoral_cloud.fleet.feed import AnnouncementQueue
from littoral_cloud.fleet.ledger import Fence
from littoral_cloud.store.announcements import Announcements
from littoral_cloud.store.commits import STREAM_ENTRIES
from littoral_cloud.store.connection import Connections
from littoral_cloud.store.scripts import ACQUIRE, RELEASE, RENEW

log = logging.getLogger(__name__)


class Leases:
    def __init__(self, connections: Connections, announcements: Announcements, key: Callable[..., str]) -> None:
        self._connections = connections
        self._announcements = announcements
        self._key = key

    @asynccontextmanager
    async def hold(self, name: str, ttl_s: float) -> AsyncIterator[Fence]:
        """Waits for the lease, then keeps it. When it is lost the body is cancelled and LostLease raised in its place."""
        token, until = await self._acquire(name, ttl_s)
        body = asyncio.current_task()
        assert body is not None
        cancels_before = body.cancelling()
        renewer = asyncio.create_task(self._renew(name, token, ttl_s, until))
        renewer.add_done_callback(lambda task: None if task.cancelled() else body.cancel())
        try:
            try:
                yield Fence(name, token)
            finally:
                if renewer.done():  # our cancel may still be on its way: it ends here, and nowhere later
                    await asyncio.sleep(0)
        except asyncio.CancelledError:
            if renewer.done() and body.uncancel() <= cancels_before:
                raise LostLease(f"lease {name}: token {token} is not valid any more", hint="another process continues") from None
            raise
        finally:
            held = not renewer.done()
            renewer.cancel()
            await asyncio.gather(renewer, return_exceptions=True)
            if held:
                await self._release(name, token)

    async def _acquire(self, name: str, ttl_s: float) -> tuple[int, float]:
        """The token, and until when it is certainly ours, by the loop's clock."""
        keys = [self._key("lease", name), self._key("lease-token", name), self._key("lease-attempt", secrets.token_hex(16))]
        watcher: AnnouncementQueue | None = None
        try:
            while True:
                asked = asyncio.get_running_loop().time()
                said, value = await self._connections.run_durably(ACQUIRE, keys, [int(ttl_s * 1000)])
                if said == b"acquired":
                    return int(value), asked + ttl_s
                if watcher is None:  # from now on its release wakes us; look again, it may have been in between
                    watcher = await self._announcements.join(frozenset({"lease"}))
                    continue
                await _released(watcher, name, max(int(value), 0) / 1000 + 0.001)
        finally:
            if watcher is not None:
                self._announcements.leave(watcher)

    async def _renew(self, name: str, token: int, ttl_s: float, until: float) -> None:
        """Ends when the lease is lost: taken by another, or not renewed in time."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(ttl_s / 3)
            asked = loop.time()
            try:
                async with asyncio.timeout_at(until):
                    renewed = await self._connections.run(RENEW, [self._key("lease", name)], [token, int(ttl_s * 1000)])
            except (TimeoutError, FleetError) as error:
                log.warning("lease %s: could not be renewed: %s", name, error)
                if loop.time() >= until:
                    return
                continue
            if not renewed:
                return
            until = asked + ttl_s

    async def _release(self, name: str, token: int) -> None:
        try:
            async with asyncio.timeout(2):
                keys = [self._key("lease", name), self._key("changes"), self._key("changes-count")]
                await self._connections.run(RELEASE, keys, [token, name, STREAM_ENTRIES, secrets.randbits(62)])
        except (TimeoutError, FleetError) as error:
            log.warning("lease %s: could not be given back, it ends by itself: %s", name, error)


async def _released(watcher: AnnouncementQueue, name: str, at_most_s: float) -> None:
    try:
        async with asyncio.timeout(at_most_s):
            while (await anext(watcher)).id not in (name, ""):
                pass
    except TimeoutError:
        return
