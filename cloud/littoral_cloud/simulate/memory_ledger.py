"""The Ledger in memory, for one event loop: the rules of littoral_cloud/fleet/ledger.py without Redis. tests/contract asks both
the same.

The audit trail is chained when somebody reads it: a rollout to 10,000 nodes writes 60,000 lines, and few simulations read one.
"""

from __future__ import annotations

import asyncio
import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from littoral.errors import BadInput, Conflict, LostLease
from littoral_cloud.counting.durations import LabelledDurations
from littoral_cloud.fleet.feed import Watchers
from littoral_cloud.fleet.ledger import (
    IN_ORDER,
    Announcement,
    AnnouncementFeed,
    Audit,
    AuditEntry,
    Change,
    CommittedChange,
    Doc,
    Fence,
    Write,
)
from littoral_cloud.simulate.memory_documents import MemoryDocuments
from littoral_cloud.trust.audit_chain import GENESIS, canonical, link


class MemoryLedger:
    """Implements littoral_cloud.fleet.ledger.Ledger. No call waits, but for a lease.

    Args:
        clock: seconds since 1970-01-01 UTC, for audit lines.
    """

    commits_wait_s = 0.0

    def __init__(self, clock: Callable[[], float]) -> None:
        self.documents_read = 0
        self.commits = LabelledDurations()  # none: no time passes in one
        self._clock = clock
        self._docs = MemoryDocuments()
        self._watchers = Watchers()
        self._position = 0
        self._leases: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._tokens: defaultdict[str, int] = defaultdict(int)
        self._written_lines: list[tuple[float, Audit]] = []
        self._trail: list[AuditEntry] = []
        self._chain = GENESIS
        self._chained_lines = 0

    async def check_writable(self) -> None:
        """It always is."""

    # -- reading ---------------------------------------------------------------------------------------------------

    async def get(self, kind: str, id: str) -> Doc | None:
        self.documents_read += 1
        return self._docs.get(kind, id)

    async def get_many(self, wanted: Sequence[tuple[str, str]]) -> Sequence[Doc | None]:
        self.documents_read += len(wanted)
        return [self._docs.get(kind, id) for kind, id in wanted]

    async def all(self, kind: str) -> Sequence[Doc]:
        docs = self._docs.of(kind)
        found = [docs[id] for id in sorted(docs)]
        self.documents_read += len(found)
        return found

    async def pages(self, kind: str, size: int = 1000) -> AsyncIterator[Sequence[Doc]]:
        found = await self.all(kind)
        for start in range(0, len(found), size):
            yield found[start : start + size]

    async def page(self, kind: str, *, after: str = "", count: int = 100) -> Sequence[Doc]:
        if kind not in IN_ORDER:
            raise BadInput(f"page: documents of kind {kind!r} are in no order", hint=f"of {', '.join(sorted(IN_ORDER))} alone")
        found = await self.all(kind)
        first = bisect_right(found, after, key=lambda doc: doc.id) if after else 0
        return found[first : first + count]

    async def position(self) -> int:
        return self._position

    async def announced(self, position: int) -> None:
        return  # watchers were given it when it was written

    async def kinds(self) -> Sequence[str]:
        return self._docs.kinds

    # -- writing ---------------------------------------------------------------------------------------------------

    async def commit(self, change: Change, *, fence: Fence | None = None) -> CommittedChange:
        if fence is not None and not (self._leases[fence.name].locked() and self._tokens[fence.name] == fence.token):
            raise LostLease(f"lease {fence.name}: token {fence.token} does not count any more")
        generations = self._docs.write(change.writes)
        self._written_lines += [(self._clock(), line) for line in change.audit]
        announced = [w for w in change.writes if not isinstance(w, Write) or not w.quiet]
        for write in announced:
            self._watchers.announce(Announcement(write.kind, write.id, generations[write.kind, write.id]))
        if change.audit:
            self._watchers.announce(Announcement("audit", ""))
        if not announced and not change.audit:
            return CommittedChange(generations)
        self._position += 1
        return CommittedChange(generations, self._position)

    @asynccontextmanager
    async def watch(self, *kinds: str) -> AsyncIterator[AnnouncementFeed]:
        async with self._watchers.watch(*kinds) as feed:
            yield feed

    @asynccontextmanager
    async def lease(self, name: str, *, ttl_s: float = 10.0) -> AsyncIterator[Fence]:
        async with self._leases[name]:
            self._tokens[name] += 1
            yield Fence(name, self._tokens[name])

    # -- the trail -------------------------------------------------------------------------------------------------

    async def audit(self, *, after: str = "-", count: int = 1000) -> Sequence[AuditEntry]:
        trail = self._chained()
        first = 0 if after == "-" else bisect_right(trail, _number(after), key=lambda entry: _number(entry.id))
        return trail[first : first + count]

    async def audit_before(self, *, before: str = "+", count: int = 1000) -> Sequence[AuditEntry]:
        trail = self._chained()
        end = len(trail) if before == "+" else bisect_left(trail, _number(before), key=lambda entry: _number(entry.id))
        return trail[max(0, end - count) : end][::-1]

    async def audit_last(self) -> AuditEntry | None:
        trail = self._chained()
        return trail[-1] if trail else None

    async def audit_head(self) -> str:
        self._chained()
        return self._chain

    async def cut_audit(self, last: str, chain: str) -> int:
        trail = self._chained()
        gone = bisect_right(trail, _number(last), key=lambda entry: _number(entry.id))
        if not gone:
            return 0
        if (trail[gone - 1].id, trail[gone - 1].chain) != (last, chain):
            raise Conflict(f"audit {last}: there is no such line with the chain {chain[:12]}")
        del trail[:gone]
        return gone

    def lines(self) -> Sequence[tuple[float, Audit]]:
        """When, and what: every line that was ever written, without the chain, which takes time."""
        return self._written_lines

    def _chained(self) -> list[AuditEntry]:
        for at, line in self._written_lines[self._chained_lines :]:
            self._chain = link(self._chain, canonical(at, line))
            self._chained_lines += 1
            id = f"{int(at * 1000)}-{self._chained_lines}"
            self._trail.append(AuditEntry(id, at, line.action, line.subject, line.actor, line.details, self._chain))
        return self._trail


def _number(id: str) -> tuple[int, ...]:
    """Raises BadInput where it is no id of a line."""
    if re.fullmatch(r"\d+-\d+", id) is None:
        raise BadInput(f"after: {id!r} is not the id of an audit line", hint='give "-" or "milliseconds-sequence"')
    return tuple(int(part) for part in id.split("-"))
