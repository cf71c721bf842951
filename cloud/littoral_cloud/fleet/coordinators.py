"""Which coordinators run on this ledger, and what becomes of the nodes of one that crashed.

A presence names the coordinator that has the session, and only that one changes it. Each coordinator is a document here, and
has a lease for as long as it lives. The others wait for that lease. The one that gets it knows that its holder has died, or
cannot reach the ledger any more, and writes that its nodes went. A coordinator that was cut off and comes back takes its lease
again and writes anew which sessions are open, so that a wrong guess is corrected.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from littoral.errors import Conflict, Unavailable
from littoral_cloud.fleet.edit import repeat_on_conflict
from littoral_cloud.fleet.ledger import Body, Change, Doc, Ledger, Write
from littoral_cloud.fleet.records import Presence, dump, load
from littoral_cloud.fleet.schema import unraised

log = logging.getLogger(__name__)

KIND = "coordinator"
_AT_ONCE = 200
"""Presences that are written in one Change."""
_AGAIN_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Coordinator:
    """What one says of itself. Other releases read it, too, so each reads of another's only what it needs: see `knows`."""

    started_at: float
    fleet_address: str = ""  # HOST:PORT of its listener for nodes; "": of one from before the field
    enrolment_address: str = ""  # HOST:PORT of its enrolment listener
    knows: int = 1  # the newest form of documents that it reads; see littoral_cloud.fleet.schema
    schema: int = 1


def knows(body: Body) -> int:
    """The newest form that the coordinator of this document reads, which may be of an earlier or a later release."""
    found = body.get("knows", 1)
    return found if isinstance(found, int) else 1


def lease_of(coordinator: str) -> str:
    return f"coordinator:{coordinator}"


class Coordinators:
    """This one among the others.

    Args:
        clock: seconds since 1970-01-01 UTC.
        own: the id of this coordinator's process; no two have the same.
        knows: the newest form of documents that this release reads.
        former: one that is known to have ended: it served the same data folder. "": none.
    """

    def __init__(self, ledger: Ledger, clock: Callable[[], float], own: str, *, former: str = "", knows: int = 1) -> None:
        self._ledger = ledger
        self._clock = clock
        self._own = own
        self._former = former
        self._knows = knows
        self._followed: dict[str, asyncio.Task[None]] = {}
        self._started_at = clock()
        self._addresses: tuple[str, ...] = ()
        self._enrolment: tuple[str, ...] = ()
        self.address = self.enrolment_address = ""
        """HOST:PORT of the own listeners; "": it has none."""
        self.nodes = 0
        """That had ever come, when this coordinator started."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """Of the fleet listeners of all coordinators that are there, the own one first."""
        return tuple(dict.fromkeys(address for address in (self.address, *self._addresses) if address))

    @property
    def enrolment_addresses(self) -> tuple[str, ...]:
        """Of the enrolment listeners, in the same order."""
        return tuple(dict.fromkeys(address for address in (self.enrolment_address, *self._enrolment) if address))

    async def run(self, alive: Callable[[], None]) -> None:
        """Until cancelled.

        Args:
            alive: called each time this coordinator has its lease; before that, others may have taken it for dead.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._live(alive), name="live")
            tasks.create_task(self._follow(tasks), name="follow other coordinators")

    async def leave(self) -> None:
        """In good order: nothing is left for others to write down."""
        await self._ledger.commit(Change((Write(KIND, self._own, None, None),)))

    async def _live(self, alive: Callable[[], None]) -> None:
        own = Coordinator(
            started_at=self._started_at,
            fleet_address=self.address,
            enrolment_address=self.enrolment_address,
            knows=self._knows,
        )
        me = Write(KIND, self._own, dump(own), None)
        while True:
            try:
                async with self._ledger.lease(lease_of(self._own)):
                    await repeat_on_conflict(partial(self._say, me))
                    alive()
                    await asyncio.Event().wait()
            except (Conflict, Unavailable) as error:
                log.warning("coordinator %s: %s", self._own, error)

    async def _say(self, me: Write) -> None:
        await self._ledger.commit(Change((me, await unraised(self._ledger, self._knows))))

    async def _follow(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            try:
                await self._succeed_unknown()
                async with self._ledger.watch(KIND) as news:
                    while True:
                        docs = await self._ledger.all(KIND)
                        others = [doc.body for doc in docs if doc.id != self._own]
                        self._addresses = tuple(str(body.get("fleet_address", "")) for body in others)
                        self._enrolment = tuple(str(body.get("enrolment_address", "")) for body in others)
                        for doc in docs:
                            if doc.id != self._own and doc.id not in self._followed:
                                waiting = tasks.create_task(self._succeed(doc.id), name=f"await the end of {doc.id}")
                                self._followed[doc.id] = waiting
                        await anext(news)
            except Unavailable as error:
                log.warning("coordinators: %s", error)
                await asyncio.sleep(_AGAIN_S)

    async def _succeed_unknown(self) -> None:
        """Of the one that served this data folder before, and of coordinators without a document. One that has written none yet
        says by itself, a moment later, that its sessions are open."""
        known = {self._own, *(doc.id for doc in await self._ledger.all(KIND))} - {self._former}
        self.nodes = await mark_gone(self._ledger, lambda of: of not in known, self._clock())

    async def _succeed(self, other: str) -> None:
        try:
            async with self._ledger.lease(lease_of(other)):
                await mark_gone(self._ledger, lambda of: of == other, self._clock())
                await self._ledger.commit(Change((Write(KIND, other, None, None),)))
                log.info("coordinator %s has ended; of its nodes those that were there are away now", other)
        except (Conflict, Unavailable) as error:
            log.warning("coordinator %s: %s", other, error)
        finally:
            self._followed.pop(other, None)


async def mark_gone(ledger: Ledger, ended: Callable[[str], bool], now: float) -> int:
    """Writes of the nodes whose coordinator has ended that they are not connected. Gives how many nodes have ever come.

    Args:
        ended: by the coordinator's id.
    """
    count, left = 0, list[str]()
    async for page in ledger.pages("presence"):
        count += len(page)
        left += [doc.id for doc in page if _gone(doc, ended, now) is not None]

    async def attempt(ids: Sequence[str]) -> None:
        found = [doc for id in ids if (doc := await ledger.get("presence", id)) is not None]
        if writes := tuple(write for doc in found if (write := _gone(doc, ended, now)) is not None):
            await ledger.commit(Change(writes))

    for start in range(0, len(left), _AT_ONCE):  # a conflict: one of them came back, or reported something
        await repeat_on_conflict(partial(attempt, left[start : start + _AT_ONCE]))
    return count


def _gone(doc: Doc, ended: Callable[[str], bool], now: float) -> Write | None:
    if not doc.body.get("connected"):  # of a fleet that is away nothing is parsed
        return None
    presence = load(Presence, doc)
    if not presence.connected or not ended(presence.coordinator):
        return None
    return Write("presence", doc.id, {**doc.body, "connected": False, "since": now}, doc.generation)
