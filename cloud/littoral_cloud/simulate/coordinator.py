"""The coordinator of a simulated fleet: the real controller over the real view, and a door for nodes made of the domain's own
functions. Only the wire is missing.

Rules, in order:

1. A hello is answered after its turn: one processor greets a limited number of nodes a second, and few
   may wait (littoral_cloud.fleet.turns).
2. What a node reports passes the checks of littoral_cloud.fleet.sessions and is written to the ledger.
3. When something is desired of a node that is connected, the node gets it at once.
4. A session that is lost is noticed after SILENT_INTERVALS heartbeats; until then the node counts as connected.
5. While the coordinator is down nothing is answered and nothing is decided. What the ledger has stays.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

from littoral.errors import Conflict
from littoral.transport import SILENT_INTERVALS
from littoral_cloud.fleet import sessions
from littoral_cloud.fleet.coordinators import mark_gone
from littoral_cloud.fleet.handed import HandedDesk
from littoral_cloud.fleet.hello import known_of, note_hello
from littoral_cloud.fleet.ledger import Change, Ledger, Write
from littoral_cloud.fleet.measurements import MeasurementRecord
from littoral_cloud.fleet.presence import patience_s
from littoral_cloud.fleet.profile import PRESENCE
from littoral_cloud.fleet.records import Desired, Presence, Reported
from littoral_cloud.fleet.turns import WELCOMES_A_SECOND, WelcomePace, next_turn
from littoral_cloud.fleet.view import FleetView
from littoral_cloud.rollouts.controller import Controller
from littoral_cloud.rollouts.seen_fleet import RECORDS, SeenFleet


class Connected(Protocol):
    """A node with a session."""

    @property
    def node_id(self) -> str: ...

    def wanted(self, generation: int, desired: Desired) -> None:
        """What should be, newer than before."""
        ...

    def cut(self) -> None:
        """Its session has ended."""
        ...


@dataclass(frozen=True, slots=True)
class Admitted:
    heartbeat_s: float
    spread_s: float
    generation: int
    desired: Desired


@dataclass(frozen=True, slots=True)
class SentAway:
    """`after_s` None: nothing answered, the coordinator is down."""

    after_s: float | None


class SimulatedCoordinator:
    def __init__(self, ledger: Ledger, clock: Callable[[], float], rng: random.Random, *, heartbeat_s: float, nodes: int) -> None:
        self.ledger = ledger
        self.up = asyncio.Event()
        self._clock = clock
        self._rng = rng
        self._heartbeat_s = heartbeat_s
        self._nodes = nodes
        self._sessions: dict[str, Connected] = {}
        self._starts = 0
        self._free_at = 0.0  # when its processor has greeted all that wait
        self._greeting = 0
        self._handed = HandedDesk(ledger, clock)
        self._next_turn = 0.0

    # -- its life --------------------------------------------------------------------------------------------------

    async def run(self, restarts: Sequence[tuple[float, float]]) -> None:
        """Until cancelled.

        Args:
            restarts: (when it ends without a word, for how long it is down), the earliest first; seconds of the loop's clock.
        """
        for at, down_s in restarts:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(at):
                    await self._live()
            self._died()
            await asyncio.sleep(down_s)
        await self._live()

    @property
    def _id(self) -> str:
        return f"coordinator-{self._starts}"

    async def _live(self) -> None:
        former, self._starts = self._id, self._starts + 1
        self._handed = HandedDesk(self.ledger, self._clock)
        await mark_gone(self.ledger, lambda of: of == former, self._clock())
        view = FleetView(self.ledger, RECORDS)
        fleet = SeenFleet(view)
        controller = Controller(self.ledger, fleet, self._clock, self._rng)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(view.run())
            await view.ready()
            tasks.create_task(controller.run())
            tasks.create_task(self._handed.run())
            tasks.create_task(self._push())
            self._free_at = self._clock()
            self.up.set()

    def _died(self) -> None:
        self.up.clear()
        lost, self._sessions = self._sessions, {}
        for node in lost.values():
            node.cut()

    # -- the door --------------------------------------------------------------------------------------------------

    async def hello(self, node: Connected, presence: Presence) -> Admitted | SentAway:
        if not self.up.is_set():
            return SentAway(None)
        now = self._clock()
        if (turn := next_turn(self._greeting, self._next_turn, now, WelcomePace())) is not None:
            self._next_turn = turn
            return SentAway(turn - now)
        self._greeting += 1
        try:
            return await self._greet(node, presence)
        finally:
            self._greeting -= 1

    async def _greet(self, node: Connected, presence: Presence) -> Admitted | SentAway:
        now = self._clock()
        self._free_at = max(now, self._free_at) + 1 / WELCOMES_A_SECOND
        await asyncio.sleep(self._free_at - now)
        if not self.up.is_set():
            return SentAway(None)
        self._sessions[node.node_id] = node  # from here on it gets what is written
        known = await known_of(self.ledger, node.node_id)
        spread_s = self._nodes / WELCOMES_A_SECOND
        patience = patience_s(self._heartbeat_s, spread_s)
        presence = replace(presence, coordinator=self._id, session=f"{self._rng.getrandbits(64):016x}", patience_s=patience)
        await note_hello(self.ledger, node.node_id, presence, None, known)
        self._handed.enter(node.node_id, known.handed)
        self._handed.handed(node.node_id, known.desired)
        return Admitted(self._heartbeat_s, spread_s, known.desired_generation, known.desired)

    async def reported(self, node_id: str, reported: Reported) -> None:
        await sessions.note_reported(self.ledger, node_id, reported)

    async def measured(self, measurement: MeasurementRecord) -> None:
        await sessions.note_measurement(self.ledger, measurement)

    async def silent(self, node: Connected, *, at_once: bool) -> None:
        """The session of a node has ended; where the node did not say so, it is noticed later."""
        if self._sessions.pop(node.node_id, None) is None:
            return
        self._handed.leave(node.node_id)
        if not at_once:
            await asyncio.sleep(SILENT_INTERVALS * self._heartbeat_s)
        while node.node_id not in self._sessions and self.up.is_set():
            doc = await self.ledger.get(PRESENCE, node.node_id)
            if doc is None or not doc.body["connected"]:
                return
            gone = {**doc.body, "connected": False, "since": self._clock()}
            try:
                await self.ledger.commit(Change((Write(PRESENCE, node.node_id, gone, doc.generation),)))
            except Conflict:
                continue
            return

    async def _push(self) -> None:
        async with self.ledger.watch("desired") as news:
            async for each in news:
                node = self._sessions.get(each.id)
                if node is None:
                    continue
                generation, desired = await sessions.desired_of(self.ledger, each.id)
                node.wanted(generation, desired)
                self._handed.handed(each.id, desired)
