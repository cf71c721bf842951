"""The Ledger in Redis. See cloud/littoral_cloud/fleet/ledger.py for the contract, scripts.py for what is atomic.

While Redis is away, `get`, `all`, `commit` and `audit` try again for `patience_s` and then raise Unavailable. `watch` follows the
stream of changes and goes on after a break where it stood.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import orjson

from littoral.errors import BadInput, Conflict, FleetError
from littoral_cloud.counting.durations import LabelledDurations
from littoral_cloud.fleet.ledger import IN_ORDER, AnnouncementFeed, AuditEntry, Change, CommittedChange, Doc, Fence, Take
from littoral_cloud.store.announcements import Announcements
from littoral_cloud.store.commits import Commits
from littoral_cloud.store.connection import Connections, Endpoint
from littoral_cloud.store.leases import Leases
from littoral_cloud.store.reads import MOST_DOCUMENTS, Reads
from littoral_cloud.store.scripts import AUDIT, AUDIT_BEFORE, CUT_AUDIT, PAGE, PAGE_IN_ORDER, SCAN, TOUCH
from littoral_cloud.trust.audit_chain import GENESIS

_KIND = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_FIELD = re.compile(r"[a-z][a-z0-9_]{0,62}")
_STREAM_ID = re.compile(r"\d{1,20}(-\d{1,20})?")


class RedisLedger:
    """Implements littoral_cloud.fleet.ledger.Ledger.

    Args:
        clock: seconds since 1970-01-01 UTC, for audit lines.
        fleet: the hash tag of every key; fleets of different names share a Redis without seeing each other.
        patience_s: how long a call waits for a Redis that does not answer.
    """

    def __init__(
        self, endpoint: Endpoint, clock: Callable[[], float], *, fleet: str = "littoral", patience_s: float = 30.0
    ) -> None:
        self._fleet = fleet
        self._connections = Connections(endpoint, patience_s=patience_s, fleet=fleet)
        self._announcements = Announcements(self._connections, self._key("changes"), self._key("changes-count"))
        self._leases = Leases(self._connections, self._announcements, self._key)
        self._commits = Commits(self._connections, self._key, clock)
        self._reads = Reads(self._connections, self._docs)
        self._documents_read = 0
        self.commits = LabelledDurations()

    @classmethod
    @asynccontextmanager
    async def open(
        cls, endpoint: Endpoint, clock: Callable[[], float], *, fleet: str = "littoral", patience_s: float = 30.0
    ) -> AsyncIterator[RedisLedger]:
        """A ledger, once its Redis answered and can hold one. Raises BadInput or Unavailable."""
        ledger = cls(endpoint, clock, fleet=fleet, patience_s=patience_s)
        try:
            await ledger._connections.check()
            yield ledger
        finally:
            await ledger._commits.close()
            await ledger._reads.close()
            await ledger._announcements.close()
            await ledger._connections.close()

    @property
    def documents_read(self) -> int:
        return self._documents_read

    @property
    def commits_wait_s(self) -> float:
        return self._commits.wait_s

    async def get(self, kind: str, id: str) -> Doc | None:
        [doc] = await self.get_many([(kind, id)])
        return doc

    async def get_many(self, wanted: Sequence[tuple[str, str]]) -> Sequence[Doc | None]:
        found: list[Doc | None] = []
        for start in range(0, len(wanted), MOST_DOCUMENTS):
            some = wanted[start : start + MOST_DOCUMENTS]
            values = await self._reads.get_many(some)
            self._documents_read += len(some)
            found += [None if value is None else _doc(kind, id, value) for (kind, id), value in zip(some, values, strict=True)]
        return found

    async def all(self, kind: str) -> Sequence[Doc]:
        found = {doc.id: doc async for page in self.pages(kind) for doc in page}
        return [found[id] for id in sorted(found)]

    async def pages(self, kind: str, size: int = MOST_DOCUMENTS) -> AsyncIterator[Sequence[Doc]]:
        cursor = b"0"
        while True:
            cursor, values = await self._connections.run(PAGE, [self._docs(kind)], [cursor, size])
            self._documents_read += len(values) // 2
            yield [_doc(kind, id.decode(), value) for id, value in zip(values[::2], values[1::2], strict=True)]
            if cursor == b"0":
                return

    async def page(self, kind: str, *, after: str = "", count: int = 100) -> Sequence[Doc]:
        if kind not in IN_ORDER:
            raise ValueError(f"{kind}: its ids are not in order")
        keys = [self._docs(kind), self._key("ids", kind)]
        values = await self._connections.run(PAGE_IN_ORDER, keys, [f"({after}" if after else "-", count])
        self._documents_read += len(values) // 2
        return [_doc(kind, id.decode(), value) for id, value in zip(values[::2], values[1::2], strict=True)]

    async def position(self) -> int:
        return int(await self._connections.command("GET", self._key("changes-count")) or 0)

    async def announced(self, position: int) -> None:
        await self._announcements.passed(position)

    async def kinds(self) -> Sequence[str]:
        prefix = self._docs("")
        pattern = re.sub(r"[*?\[\]\\]", lambda special: f"\\{special[0]}", prefix) + "*"
        found: set[str] = set()
        cursor = b"0"
        while True:
            cursor, keys = await self._connections.run(SCAN, [self._key("audit")], [cursor, pattern])
            found |= {key.decode().removeprefix(prefix) for key in keys}
            if cursor == b"0":
                return sorted(found)

    async def commit(self, change: Change, *, fence: Fence | None = None) -> CommittedChange:
        _check(change)
        now, outcome = asyncio.get_running_loop().time, "ok"
        started = now()
        try:
            return await self._commits.commit(change, fence)
        except FleetError as error:
            outcome = error.code
            raise
        finally:
            self.commits.add(now() - started, outcome)

    async def check_writable(self) -> None:
        await self._connections.run_durably(TOUCH, [self._key("touched")], [])

    @asynccontextmanager
    async def watch(self, *kinds: str) -> AsyncIterator[AnnouncementFeed]:
        watcher = await self._announcements.join(frozenset(kinds))
        try:
            yield watcher
        finally:
            self._announcements.leave(watcher)

    def lease(self, name: str, *, ttl_s: float = 10.0) -> AbstractAsyncContextManager[Fence]:
        return self._leases.hold(name, ttl_s)

    async def audit(self, *, after: str = "-", count: int = 1000) -> Sequence[AuditEntry]:
        start = "-" if after == "-" else f"({_stream_id('after', after)}"
        found = await self._connections.run(AUDIT, [self._key("audit")], [start, count])
        return [_entry(id, fields) for id, fields in found]

    async def audit_before(self, *, before: str = "+", count: int = 1000) -> Sequence[AuditEntry]:
        end = "+" if before == "+" else f"({_stream_id('before', before)}"
        found = await self._connections.run(AUDIT_BEFORE, [self._key("audit")], [end, count])
        return [_entry(id, fields) for id, fields in found]

    async def audit_last(self) -> AuditEntry | None:
        return next(iter(await self.audit_before(count=1)), None)

    async def audit_head(self) -> str:
        head: bytes | None = await self._connections.command("GET", self._key("audit-head"))
        return GENESIS if head is None else head.decode()

    async def cut_audit(self, last: str, chain: str) -> int:
        if not re.fullmatch(r"\d+-\d+", last):
            raise BadInput(f"last: {last!r} is not the id of an audit line", hint='give "milliseconds-sequence"')
        at, _, sequence = last.partition("-")
        result = await self._connections.run_durably(CUT_AUDIT, [self._key("audit")], [last, chain, f"{at}-{int(sequence) + 1}"])
        if result[0] != b"cut":
            raise Conflict(
                f"audit: line {last} is not there, or was changed: nothing was cut", hint="run `littoral-cloud audit verify`"
            )
        return int(result[1])

    def _docs(self, kind: str) -> str:
        return self._key("docs", kind)

    def _key(self, *parts: str) -> str:
        return ":".join((f"{{{self._fleet}}}", *parts))


def _stream_id(field: str, id: str) -> str:
    if not _STREAM_ID.fullmatch(id) or max(map(int, id.split("-"))) >= 2**64:
        raise BadInput(f"{field}: {id[:80]!r} is not the id of an audit line", hint='give "milliseconds-sequence"')
    return id


def _check(change: Change) -> None:
    named = [(write.kind, write.id) for write in change.writes]
    if len(set(named)) != len(named):
        raise BadInput("change: writes one document twice")
    for kind, id in named:
        if not _KIND.fullmatch(kind):
            raise BadInput(f"change: {kind!r} is no kind", hint="a kind is a word in lower case")
        if not id:
            raise BadInput(f"change: a {kind} has no id")
    for write in change.writes:
        if isinstance(write, Take) and not _FIELD.fullmatch(write.field):
            raise BadInput(f"change: {write.field!r} is no field", hint="a field is a word in lower case")


def _doc(kind: str, id: str, value: bytes) -> Doc:
    generation, _, body = value.partition(b" ")
    return Doc(kind, id, int(generation), orjson.loads(body))


def _entry(id: bytes, fields: Sequence[bytes]) -> AuditEntry:
    named = dict(zip(fields[::2], fields[1::2], strict=True))
    line: dict[str, Any] = json.loads(named[b"line"])
    return AuditEntry(
        id.decode(), line["at"], line["action"], line["subject"], line["actor"], line["details"], named[b"chain"].decode()
    )
