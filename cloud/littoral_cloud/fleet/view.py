"""What deciders know of the fleet: every record of some kinds, parsed once, and followed by what changed.

A decider that reads the whole ledger at each change does work that grows with the fleet. The view reads everything once; then it
reads what was announced, and nothing else. The pattern is the informer of Kubernetes controllers.

Rules, in order:

1. It follows the stream of changes first, and reads every kind next, page by page, so that nothing in between is missed.
2. From then on it reads only documents that were announced. A kind that is announced without an id is read again as a whole.
3. A record replaces one of an older generation alone, so that a reading that comes late changes nothing.
4. Who watches the view hears of a change when the view holds it. What stands in the view may be older than the ledger: a
   decider commits with the generations that it decided on.
5. Who commits gives the change to the view (`wrote`), and decides next on what it wrote. After a conflict it calls `refresh`.
6. A document that is no such record is left out and logged: one bad document does not stop the others.
7. What must not wait goes first (`calm`), as the desired states that sessions send.

Example: 10,000 nodes are connected and one reports. The view reads one document, replaces one record, and wakes the watchers of
kind "reported" with the id of that node.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from littoral.backoff import Backoff
from littoral.errors import FleetError, Unavailable
from littoral_cloud.fleet.calm import Calm, at_once
from littoral_cloud.fleet.feed import Watchers
from littoral_cloud.fleet.interning import Interner
from littoral_cloud.fleet.ledger import Announcement, AnnouncementFeed, Change, CommittedChange, Doc, Ledger, Write

R = TypeVar("R")

log = logging.getLogger(__name__)

BACKOFF = Backoff(0.1, 5.0)
PAGE_DOCUMENTS = 500
"""That are parsed at one time; then others have a turn."""


@dataclass(frozen=True, slots=True)
class Held(Generic[R]):
    """A record as it stands in the document of this generation."""

    generation: int
    record: R


ALIKE = frozenset({"profile", "desired"})
"""Kinds of which many documents are equal."""
ALIKE_IN = {"reported": "models"}
"""And a field in which they are."""

Follower = Callable[[str, str, Held[Any] | None], None]
"""Called with kind, id and what the view holds now (None: it was deleted), at each change."""


class FleetView:
    """For one event loop.

    Args:
        records: the record of each kind that is followed.
        calm: asked before it reads what was announced.
    """

    def __init__(self, ledger: Ledger, records: Mapping[str, type], *, calm: Calm = at_once) -> None:
        self._ledger = ledger
        self._calm = calm
        self._records = dict(records)
        self._held: dict[str, dict[str, Held[Any]]] = {kind: {} for kind in records}
        self._followers: list[tuple[frozenset[str], Follower]] = []
        self._watchers = Watchers()
        self._interner = Interner(ALIKE, ALIKE_IN)
        self._reading = asyncio.Lock()  # an older reading is never applied after a newer one
        self._ready = asyncio.Event()
        self._feed: AnnouncementFeed | None = None
        self._applying = False
        self._since = 0.0  # when the oldest of what is applied now came; of the loop's clock
        self._applied = asyncio.Condition()

    def of(self, kind: str) -> Mapping[str, Held[Any]]:
        """The records of a kind, by id: they change while one waits."""
        return MappingProxyType(self._held[kind])

    @property
    def kinds(self) -> tuple[str, ...]:
        """That are followed."""
        return tuple(self._records)

    @property
    def is_read(self) -> bool:
        """Whether everything was read once."""
        return self._ready.is_set()

    @property
    def behind_s(self) -> float:
        """How old the oldest change is that the view does not hold yet, or that this process has not written yet; 0: none."""
        now = asyncio.get_running_loop().time()
        waiting = [*((self._since,) if self._applying else ()), *((self._feed.since,) if self._feed else ())]
        oldest: float = max([self._ledger.commits_wait_s, *(now - since for since in waiting)])
        return oldest

    def follow(self, kinds: Iterable[str], follower: Follower) -> None:
        """For an index: it hears of each change before the watchers do. To be called before `run`."""
        self._followers.append((frozenset(kinds), follower))

    @asynccontextmanager
    async def watch(self, *kinds: str) -> AsyncIterator[AnnouncementFeed]:
        """Announcements of these kinds, each once the view holds what was written."""
        async with self._watchers.watch(*kinds) as feed:
            yield feed

    async def ready(self) -> None:
        """Returns once everything was read."""
        await self._ready.wait()

    async def catch_up(self) -> None:
        """Returns once the view holds all that was written before the call."""
        await self._ready.wait()
        await self._ledger.announced(await self._ledger.position())
        async with self._applied:
            await self._applied.wait_for(lambda: not self._applying and not (self._feed and len(self._feed)))

    async def run(self) -> None:
        """Follows the ledger until it is cancelled."""
        failures = 0
        while True:
            try:
                async with self._ledger.watch(*self._records) as feed:
                    self._feed = feed
                    async with self._changing(asyncio.get_running_loop().time()):
                        for kind in self._records:
                            await self._read_all(kind)
                    self._ready.set()
                    failures = 0
                    while True:
                        await feed.waiting()
                        await asyncio.sleep(0)  # others that hear of it in the same moment begin what goes first
                        await self._calm()
                        heard = feed.drain()
                        async with self._changing(feed.since):
                            await self._apply(heard)
            except Unavailable as error:
                log.warning("view: %s; reading everything again", error)
                await asyncio.sleep(BACKOFF.bound_s(failures))
                failures += 1

    @asynccontextmanager
    async def _changing(self, since: float) -> AsyncIterator[None]:
        self._applying, self._since = True, since
        yield
        self._applying = False  # not after an error: then everything is read again
        async with self._applied:
            self._applied.notify_all()

    def wrote(self, change: Change, committed: CommittedChange) -> None:
        """Takes over what was just committed, without reading it."""
        for write in change.writes:
            if isinstance(write, Write) and write.kind in self._records:
                generation = committed[write.kind, write.id]
                if write.body is None:
                    self._put(write.kind, write.id, None)
                else:
                    self._put(write.kind, write.id, Doc(write.kind, write.id, generation, write.body))

    async def refresh(self, change: Change) -> None:
        """Reads the documents of a change that was refused. Raises Unavailable."""
        await self._read([(write.kind, write.id) for write in change.writes if write.kind in self._records])

    async def _apply(self, heard: Iterable[Announcement]) -> None:
        named = []
        for each in heard:
            if not each.id:
                await self._read_all(each.kind)
            elif (held := self._held[each.kind].get(each.id)) is None or held.generation < each.generation or not each.generation:
                named.append((each.kind, each.id))
        await self._read(named)

    async def _read(self, wanted: Sequence[tuple[str, str]]) -> None:
        for start in range(0, len(wanted), PAGE_DOCUMENTS):
            some = wanted[start : start + PAGE_DOCUMENTS]
            async with self._reading:
                for (kind, id), doc in zip(some, await self._ledger.get_many(some), strict=True):
                    self._put(kind, id, doc)

    async def _read_all(self, kind: str) -> None:
        found: set[str] = set()
        async with self._reading:
            async for page in self._ledger.pages(kind, PAGE_DOCUMENTS):
                for doc in page:
                    found.add(doc.id)
                    self._put(kind, doc.id, doc)
                await asyncio.sleep(0)  # parsing a page takes some milliseconds
            for id in self._held[kind].keys() - found:
                self._put(kind, id, None)

    def _put(self, kind: str, id: str, doc: Doc | None) -> None:
        held, id = self._held[kind], sys.intern(id)  # one text for all kinds
        before = held.get(id)
        if before is None if doc is None else before is not None and before.generation >= doc.generation:
            return
        after: Held[Any] | None = None
        if doc is not None:
            try:
                after = Held(doc.generation, self._interner.record(self._records[kind], doc))
            except FleetError as error:
                log.error("view: left out: %s", error)
        if after is None:
            if held.pop(id, None) is None:
                return
        else:
            held[id] = after
        for kinds, follower in self._followers:
            if kind in kinds:
                follower(kind, id, after)
        self._watchers.announce(Announcement(kind, id, after.generation if after else 0))
