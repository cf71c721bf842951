"""Every open session of this process: one a node, woken by one watch, counted present for as long as it is open."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace

from cloud.api.session import Over, Session
from cloud.fleet.ledger import Change, Ledger, Write
from cloud.fleet.records import Presence, dump, load
from cloud.fleet.sessions import Reason, Refused
from littoral.errors import Conflict, Unavailable

log = logging.getLogger(__name__)

DRAIN_RETRY_S = 2.0
_AGAIN_S = 1.0


class SessionHub:
    """Implements cloud.api.session.Hub.

    Args:
        clock: seconds since 1970-01-01 UTC.
    """

    def __init__(self, ledger: Ledger, clock: Callable[[], float]) -> None:
        self._ledger = ledger
        self._clock = clock
        self._sessions: dict[str, Session] = {}
        self._open: set[Session] = set()  # superseded ones too, until they have ended
        self._changed: set[str] = set()  # nodes whose presence may be written wrongly
        self._presence_due = asyncio.Event()
        self._draining = False
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def draining(self) -> bool:
        return self._draining

    def enter(self, session: Session) -> None:
        """The newest session of a node is the node's: one before it ends."""
        if self._draining:
            raise Over(shutting_down())
        node_id = session.peer.node_id
        if (before := self._sessions.get(node_id)) is not None:
            before.end(Refused(Reason.SUPERSEDED, f"node {node_id} has opened another session"))
        self._sessions[node_id] = session
        self._open.add(session)
        self._empty.clear()

    def leave(self, session: Session) -> None:
        node_id = session.peer.node_id
        if self._sessions.get(node_id) is session:
            del self._sessions[node_id]
        self._open.discard(session)
        if not self._open:
            self._empty.set()
        self._mark(node_id)

    async def run(self) -> None:
        """Wakes sessions and keeps presence right, until it is cancelled."""
        for doc in await self._ledger.all("presence"):  # of a coordinator that was killed
            self._mark(doc.id)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._wake(), name="wake sessions")
            tasks.create_task(self._keep_presence(), name="keep presence")

    async def drain(self, within_s: float) -> None:
        """Refuses whoever comes, ends whoever is there, and writes down that they went."""
        self._draining = True
        for session in tuple(self._open):
            session.end(shutting_down())
        try:
            async with asyncio.timeout(within_s):
                await self._empty.wait()
                await self._write_presence()
        except (TimeoutError, Unavailable) as error:
            log.warning("drain: not all was written down in %g s: %s", within_s, error or "timeout")

    async def _wake(self) -> None:
        async with self._ledger.watch("desired", "node") as announcements:
            for session in tuple(self._open):  # what was written before we listened
                session.look_again()
            async for announcement in announcements:
                named = self._sessions.get(announcement.id)
                everyone = tuple(self._open) if not announcement.id else ()  # Redis was away: anything may have been written
                for session in everyone if named is None else (named,):
                    session.look_again()

    async def _keep_presence(self) -> None:
        while True:
            await self._presence_due.wait()
            try:
                await self._write_presence()
            except Unavailable:
                await asyncio.sleep(_AGAIN_S)

    async def _write_presence(self) -> None:
        """Compares and corrects, so that it does not matter in which order sessions came and went."""
        while self._changed:
            node_id = next(iter(self._changed))
            doc = await self._ledger.get("presence", node_id)
            connected = node_id in self._sessions
            if doc is not None and (presence := load(Presence, doc)).connected != connected:
                body = dump(replace(presence, connected=connected, since=self._clock()))
                try:
                    await self._ledger.commit(Change((Write("presence", node_id, body, doc.generation),)))
                except Conflict:
                    continue
            if connected == (node_id in self._sessions):
                self._changed.discard(node_id)
        self._presence_due.clear()

    def _mark(self, node_id: str) -> None:
        self._changed.add(node_id)
        self._presence_due.set()


def shutting_down() -> Refused:
    return Refused(Reason.UNAVAILABLE, "this coordinator is shutting down", DRAIN_RETRY_S)
