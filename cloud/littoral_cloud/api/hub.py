"""Every open session of this process: one a node, woken by one watch, counted present for as long as it is open.

A presence says which coordinator and which session it is of. Here it is written for sessions of this process alone: that one is
open, or that the one which the presence names has ended. What other coordinators wrote is theirs, as long as they live
(littoral_cloud.fleet.coordinators). The newest hello of a node counts, wherever it came.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from itertools import islice

from littoral.errors import Conflict, Unavailable
from littoral.trust_anchors import ToldAnchors
from littoral_cloud.api.desired_messages import DesiredMessages
from littoral_cloud.api.greeting_line import GreetingLine
from littoral_cloud.api.open_files import ConnectionLimits
from littoral_cloud.api.pushes import Pushes
from littoral_cloud.api.session import CoordinatorSession
from littoral_cloud.api.session_refusals import DRAIN_RETRY_S, full, shutting_down, superseded
from littoral_cloud.api.session_stream import SessionEnded
from littoral_cloud.counting.session_counts import SessionCounts
from littoral_cloud.fleet.allowance import NodeAllowance, count_left_out
from littoral_cloud.fleet.clones import SessionTurns, Start, came
from littoral_cloud.fleet.coordinators import Coordinators
from littoral_cloud.fleet.handed import HandedDesk
from littoral_cloud.fleet.ledger import Announcement, Body, Change, Doc, Ledger, Write
from littoral_cloud.fleet.profile import PRESENCE
from littoral_cloud.fleet.records import Presence, load
from littoral_cloud.fleet.schema import SCHEMA
from littoral_cloud.fleet.sessions import SessionRefusal
from littoral_cloud.fleet.telemetry_desk import FLUSH_S, TelemetryDesk
from littoral_cloud.fleet.turns import WELCOMES_A_SECOND

log = logging.getLogger(__name__)

HAND_OVER_S = 0.1
"""In place of DRAIN_RETRY_S where another coordinator is there."""
AT_ONCE = 500
"""Presences that are read and corrected at one time."""
_AGAIN_S = 1.0
_CONFLICT_S = 0.05


class SessionHub:
    """Implements littoral_cloud.api.session_terms.Hub.

    Args:
        clock: seconds since 1970-01-01 UTC.
        coordinator: the id of this process; no two coordinators have the same. None: a new one.
        former: the coordinator that served the same data folder before, and has ended; "": none.
        room: for how many nodes there is room, and why; None: for any number.
        flush_s: for how long telemetry waits at most before it is written.
    """

    def __init__(
        self,
        ledger: Ledger,
        clock: Callable[[], float],
        coordinator: str | None = None,
        *,
        former: str = "",
        room: ConnectionLimits | None = None,
        flush_s: float = FLUSH_S,
    ) -> None:
        self.coordinator = coordinator or secrets.token_hex(8)
        self.desk = TelemetryDesk(ledger, clock, flush_s=flush_s)
        self.pushes = Pushes()
        self.line = GreetingLine(self.pushes)
        self.handed = HandedDesk(ledger, clock, calm=self.pushes.over)
        self.desired = DesiredMessages()
        self.counts = SessionCounts()
        self.anchors = ToldAnchors(number=0)
        self._ledger = ledger
        self._clock = clock
        self._coordinators = Coordinators(ledger, clock, self.coordinator, former=former, knows=SCHEMA)
        self._room = room
        self._sessions: dict[str, CoordinatorSession] = {}
        self._open: set[CoordinatorSession] = set()  # superseded ones too, until they have ended
        self._turns: dict[str, SessionTurns] = {}  # by node
        self._allowances: dict[str, NodeAllowance] = {}  # by node
        self._changed: set[str] = set()  # nodes whose presence may be written wrongly
        self._presence_due = asyncio.Event()
        self._draining = False
        self._empty = asyncio.Event()
        self._empty.set()

    def closed_to(self, node_id: str) -> SessionRefusal | None:
        """Why this node may not enter now."""
        if self._draining:
            return shutting_down()
        if self._room is None or node_id in self._sessions or len(self._sessions) < self._room.nodes:
            return None
        return full(len(self._sessions), self._room.limit)

    @property
    def sessions(self) -> int:
        """That are open now."""
        return len(self._open)

    @property
    def spread_s(self) -> float:
        """Over which time nodes shall come back when all are sent away, or lose their sessions, at one time."""
        return max(len(self._open) + len(self.line), self._coordinators.nodes) / WELCOMES_A_SECOND

    @property
    def fleet_addresses(self) -> tuple[str, ...]:
        """Where nodes find the coordinators of this fleet."""
        return self._coordinators.addresses

    @property
    def enrolment_addresses(self) -> tuple[str, ...]:
        return self._coordinators.enrolment_addresses

    def listens_at(self, fleet: str, enrolment: str = "") -> None:
        """HOST:PORT of the listeners; before `run`."""
        self._coordinators.address, self._coordinators.enrolment_address = fleet, enrolment

    def tell_anchors(self, told: ToldAnchors) -> None:
        """Every node hears of these now, or when it connects."""
        self.anchors = told
        for session in self._all():
            session.look_at_anchors()

    def allowance_of(self, node_id: str) -> NodeAllowance:
        """Of all its sessions of this process, also of those to come."""
        if node_id not in self._allowances:
            self._allowances[node_id] = NodeAllowance(node_id, asyncio.get_running_loop().time)
        return self._allowances[node_id]

    def enter(self, session: CoordinatorSession) -> None:
        """The newest session of a node is the node's: one before it ends."""
        node_id = session.peer.node_id
        if (refused := self.closed_to(node_id)) is not None:
            raise SessionEnded(refused)
        before = self._sessions.get(node_id)
        start = Start(session.boot_id, session.address, self._clock())
        turns = self._turns[node_id] = came(self._turns.get(node_id, SessionTurns()), start, was_open=before is not None)
        session.twins = turns.addresses
        if before is not None:
            before.end(superseded(node_id, turns))
        self._sessions[node_id] = session
        self._open.add(session)
        self.counts.opened += 1
        self._empty.clear()

    def leave(self, session: CoordinatorSession) -> None:
        node_id = session.peer.node_id
        if self._sessions.get(node_id) is session:
            del self._sessions[node_id]
        self._open.discard(session)
        if not self._open:
            self._empty.set()
        if node_id not in self._sessions:
            self.desk.leave(node_id)
            self.handed.leave(node_id)
        self._mark(node_id)

    async def run(self) -> None:
        """Wakes sessions and keeps presence right, until it is cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._coordinators.run(self._mark_all), name="coordinators")
            tasks.create_task(self._wake(), name="wake sessions")
            tasks.create_task(self._keep_presence(), name="keep presence")
            tasks.create_task(self.desk.run(), name="telemetry")
            tasks.create_task(self.handed.run(), name="handed")

    async def drain(self, within_s: float) -> None:
        """Refuses new sessions, ends the open ones, and writes that their nodes went."""
        self._draining = True
        least = HAND_OVER_S if len(self.fleet_addresses) > 1 else DRAIN_RETRY_S
        for number, session in enumerate(tuple(self._open)):
            session.end(shutting_down(least + number / WELCOMES_A_SECOND))
        try:
            async with asyncio.timeout(within_s):
                await self._empty.wait()
                await self.desk.write_all()
                await self.handed.write()
                await self._write_presence()
                await self._coordinators.leave()
        except (TimeoutError, Conflict, Unavailable) as error:
            log.warning("drain: not all was written down in %g s: %s", within_s, error or "timeout")

    async def _wake(self) -> None:
        async with self._ledger.watch("desired", "node", PRESENCE) as announcements:
            for session in self._all():  # what was written before we listened
                session.look_again()
            while True:
                await announcements.waiting()
                heard = announcements.drain()
                for each in heard:
                    if each.kind == PRESENCE:
                        self._written(each)
                if told := [(session, each.kind) for each in heard if each.kind != PRESENCE for session in self._meant(each)]:
                    with self.pushes.pending():  # until those of the sessions go on
                        for session, kind in told:
                            session.look_again(frozenset({kind}))
                        await asyncio.sleep(0)

    def _meant(self, announcement: Announcement) -> tuple[CoordinatorSession, ...]:
        return self._of(announcement.id) if announcement.id else self._all()

    def _all(self) -> tuple[CoordinatorSession, ...]:
        """Also those that only greet: they have read already what they will send first."""
        return (*self._open, *self.line.all())

    def _of(self, node_id: str) -> tuple[CoordinatorSession, ...]:
        session = self._sessions.get(node_id)
        return (*self.line.of(node_id), *((session,) if session is not None else ()))

    def _written(self, announcement: Announcement) -> None:
        """Somebody wrote a presence: of a node whose session is here it must say so. The one that its hello wrote does."""
        session = self._sessions.get(announcement.id)
        if not announcement.id:
            self._mark_all()
        elif session is not None and not 0 < announcement.generation <= session.presence_generation:
            self._mark(announcement.id)

    async def _keep_presence(self) -> None:
        while True:
            await self._presence_due.wait()
            try:
                await self._write_presence()
            except (Conflict, Unavailable):
                await asyncio.sleep(_AGAIN_S)

    async def _write_presence(self) -> None:
        """Compares and corrects, so that it does not matter in which order sessions came and went."""
        while self._changed:
            nodes = tuple(islice(self._changed, AT_ONCE))
            sessions = {node_id: self._sessions.get(node_id) for node_id in nodes}
            gone = (self._allowances.get(node_id) for node_id, session in sessions.items() if session is None)
            await asyncio.gather(*(count_left_out(self._ledger, each, at_last=True) for each in gone if each is not None))
            docs = await self._ledger.get_many([(PRESENCE, node_id) for node_id in nodes])
            right = await asyncio.gather(*(self._correct(doc) for doc in docs))
            for node_id, is_right in zip(nodes, right, strict=True):
                if is_right and self._sessions.get(node_id) is sessions[node_id]:
                    self._changed.discard(node_id)
            if not all(right):
                await asyncio.sleep(_CONFLICT_S)
        self._presence_due.clear()

    async def _correct(self, doc: Doc | None) -> bool:
        """False where somebody wrote it meanwhile."""
        if doc is None or (corrected := self._corrected(doc.id, load(Presence, doc))) is None:
            return True
        try:
            await self._ledger.commit(Change((Write(PRESENCE, doc.id, {**doc.body, **corrected}, doc.generation),)))
        except Conflict:
            return False
        return True

    def _corrected(self, node_id: str, presence: Presence) -> Body | None:
        """What it must say instead; None: it is right, or not ours to change."""
        session = self._sessions.get(node_id)
        ours = presence.coordinator == self.coordinator
        if session is None:
            return {"connected": False, "since": self._clock()} if ours and presence.connected else None
        if presence.connected and (not ours or presence.session == session.id):
            return None
        return {"connected": True, "since": self._clock(), "coordinator": self.coordinator, "session": session.id}

    def _mark_all(self) -> None:
        for node_id in self._sessions:
            self._mark(node_id)

    def _mark(self, node_id: str) -> None:
        self._changed.add(node_id)
        self._presence_due.set()
