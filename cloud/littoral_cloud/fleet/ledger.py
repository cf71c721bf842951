"""The door through which everything that the coordinator intends is written: the port; the adapter is littoral_cloud/store/.

A document is a JSON object under (kind, id) with a generation that grows by one with every write; generation 0 means
"does not exist". A Change is written whole or not at all, together with its lines in the audit trail, and announced: it is
appended to one stream of changes, which every reader follows from where it stood.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from littoral.errors import FleetError
from littoral_cloud.counting.durations import LabelledDurations

T = TypeVar("T")

Body = Mapping[str, Any]
Clock = Callable[[], float]
"""Gives seconds since 1970-01-01 UTC."""

IN_ORDER = frozenset({"node-name", "assignment"})
"""Kinds whose documents can be read by id, in order, some at a time."""


@dataclass(frozen=True, slots=True)
class Doc:
    kind: str
    id: str
    generation: int
    body: Body


@dataclass(frozen=True, slots=True)
class Write:
    """`body` None deletes. `expected` is the generation that was read: 0 for "must not exist yet", None for "any".

    `quiet`: no decision waits for it, so it is not announced.
    """

    kind: str
    id: str
    body: Body | None
    expected: int | None
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class Take:
    """Takes one from a whole number in a document, and leaves the rest as it is: of many who take at the same moment each gets
    one, for as long as there is any. `field` stands in the body once."""

    kind: str
    id: str
    field: str


@dataclass(frozen=True, slots=True)
class Audit:
    """One line of the audit trail.

    `action` is "noun.verb", for example "rollout.rolled-back"; `subject` an id; `actor` who did it.
    """

    action: str
    subject: str
    actor: str
    details: Body = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fence:
    """A lease that is taken. `token` grows with every new holder: a write with an old one is refused."""

    name: str
    token: int


@dataclass(frozen=True, slots=True)
class Change:
    writes: tuple[Write | Take, ...]
    audit: tuple[Audit, ...] = ()


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """A line as it stands in the trail. `chain` is SHA-256, hex, over the line before's chain and this line's canonical JSON."""

    id: str  # of the Redis stream, "milliseconds-sequence"
    at: float  # seconds since 1970-01-01 UTC
    action: str
    subject: str
    actor: str
    details: Body
    chain: str


@dataclass(frozen=True, slots=True)
class Announcement:
    """Something was written. `id` "": more was written than is remembered, so everything of the kind has to be read again.

    `generation`: of the document as it was written last; 0: it was deleted, or is not known.
    """

    kind: str
    id: str
    generation: int = field(default=0, compare=False)


class AnnouncementFeed(Protocol):
    """Announcements for one watcher. Of a document that was written many times since it was asked, there is one.

    Attributes:
        since: when the first of those came that wait now, or that were taken last; seconds of the event loop's clock.
    """

    since: float

    def __aiter__(self) -> AsyncIterator[Announcement]: ...

    async def __anext__(self) -> Announcement: ...

    async def waiting(self) -> None:
        """Returns when one waits, and takes none: `drain` has the newest of each document then."""
        ...

    def drain(self) -> frozenset[Announcement]:
        """All that wait now; empties the queue."""
        ...

    def __len__(self) -> int:
        """How many wait now."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class CommittedChange(Mapping[tuple[str, str], int]):
    """The new generations by (kind, id). `position`: of the change in the stream of changes; 0: it was not announced."""

    generations: Mapping[tuple[str, str], int]
    position: int = 0

    def __getitem__(self, key: tuple[str, str]) -> int:
        return self.generations[key]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.generations)

    def __len__(self) -> int:
        return len(self.generations)


class Ledger(Protocol):
    @property
    def documents_read(self) -> int:
        """How many documents this process has read of it: what its decisions cost."""
        ...

    @property
    def commits_wait_s(self) -> float:
        """How long the oldest commit of this process that has no answer yet has waited; 0: none waits."""
        ...

    @property
    def commits(self) -> LabelledDurations:
        """How long each commit of this process took until its answer, by "ok" or the code of its error."""
        ...

    async def check_writable(self) -> None:
        """Returns once a small write was answered, as one of intent is. Raises Unavailable, NoSpace."""
        ...

    async def get(self, kind: str, id: str) -> Doc | None: ...

    async def get_many(self, wanted: Sequence[tuple[str, str]]) -> Sequence[Doc | None]:
        """Documents by (kind, id), in the order asked for, as they stood at one moment; None where there is none."""
        ...

    async def all(self, kind: str) -> Sequence[Doc]:
        """Every document of a kind, by id."""
        ...

    def pages(self, kind: str, size: int = 1000) -> AsyncIterator[Sequence[Doc]]:
        """Every document of a kind, about `size` at a time, in no order. One that is written meanwhile may come twice, in the
        older or the newer form; one that is there all the time comes."""
        ...

    async def page(self, kind: str, *, after: str = "", count: int = 100) -> Sequence[Doc]:
        """The next documents behind an id, by id, of a kind of IN_ORDER; "": the first ones."""
        ...

    async def position(self) -> int:
        """Of the last change that was announced; 0: there is none."""
        ...

    async def announced(self, position: int) -> None:
        """Returns once every watcher of this process was given what was announced up to this position."""
        ...

    async def kinds(self) -> Sequence[str]:
        """Every kind of which there is a document, in order."""
        ...

    async def commit(self, change: Change, *, fence: Fence | None = None) -> CommittedChange:
        """Writes a change whole and gives the new generations.

        Raises:
            Conflict: an expected generation is not there any more, or nothing is left to take; nothing was written.
            LostLease: the fence is not, or no longer, valid; nothing was written.
            Unavailable: Redis cannot be had; the change may or may not have been written, and committing it again
                with the same expected generations is safe.
        """
        ...

    def watch(self, *kinds: str) -> AbstractAsyncContextManager[AnnouncementFeed]:
        """Announcements of these kinds, from the moment the context is entered; none is lost while Redis is away."""
        ...

    def lease(self, name: str, *, ttl_s: float = 10.0) -> AbstractAsyncContextManager[Fence]:
        """Waits until the lease can be had and keeps it renewed inside the context."""
        ...

    async def audit(self, *, after: str = "-", count: int = 1000) -> Sequence[AuditEntry]:
        """Lines after an id, oldest first."""
        ...

    async def audit_before(self, *, before: str = "+", count: int = 1000) -> Sequence[AuditEntry]:
        """Lines before an id, newest first; "+": from the newest."""
        ...

    async def audit_last(self) -> AuditEntry | None:
        """The newest line; None before the first."""
        ...

    async def audit_head(self) -> str:
        """The chain of the last line that was written; 64 zeros before the first."""
        ...

    async def cut_audit(self, last: str, chain: str) -> int:
        """Deletes the lines up to this one, and gives how many: 0 where they are gone already. What archives them is
        littoral_cloud.trust.audit_archive.

        Raises Conflict where the line of that id is missing or has another chain; nothing was deleted.
        """
        ...


async def trail(ledger: Ledger, after: str = "-") -> AsyncIterator[AuditEntry]:
    """All lines of the audit trail after an id, oldest first."""
    while page := await ledger.audit(after=after):
        for entry in page:
            yield entry
        after = page[-1].id


async def news_within(news: AnnouncementFeed, within_s: float) -> bool:
    """Returns when an announcement waits; False where none comes in time."""
    with suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await news.waiting()
            return True
    return False


async def until(
    ledger: Ledger, kinds: tuple[str, ...], look: Callable[[], Awaitable[T | None]], *, seconds: float, what: str
) -> T:
    """Looks once, and again whenever a document of these kinds was written, until there is something to see.

    Raises FleetError, saying what was waited for, after `seconds`.
    """
    try:
        async with asyncio.timeout(seconds), ledger.watch(*kinds) as news:
            if (seen := await look()) is not None:
                return seen
            async for _ in news:
                if (seen := await look()) is not None:
                    return seen
    except TimeoutError as error:
        raise FleetError(f"waited {seconds:.0f} s for {what}, in vain") from error
    raise FleetError(f"the ledger's announcements ended while waiting for {what}")
