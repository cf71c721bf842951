"""The Ledger in Redis. See cloud/littoral_cloud/fleet/ledger.py for the contract, scripts.py for what is atomic.

While Redis is away, `get`, `all`, `commit` and `audit` try again for `patience_s` and then raise Unavailable. `watch`
reconnects by itself; after a break it announces every watched kind with the id "" ("read all of it again"), because the
announcements of the meantime are lost.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from littoral.errors import BadInput, Conflict, LostLease, Unavailable
from littoral_cloud.fleet.ledger import Announcement, AuditEntry, Body, Change, Doc, Fence, Take, Write
from littoral_cloud.store.announcements import Announcements
from littoral_cloud.store.connection import Connections, Endpoint
from littoral_cloud.store.leases import Leases
from littoral_cloud.store.scripts import AUDIT, AUDIT_LAST, COMMIT, SCAN
from littoral_cloud.trust.audit_chain import GENESIS, canonical, link

CHANGE_TTL_MS = 10 * 60 * 1000  # far longer than a commit is retried
TOMBSTONE_TTL_MS = 30 * 24 * 3600 * 1000  # a document that comes back within this goes on counting generations
_Sent = tuple[str | int, str]
_KIND = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_FIELD = re.compile(r"[a-z][a-z0-9_]{0,62}")
_STREAM_ID = re.compile(r"-|\d+(-\d+)?")


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
        self._clock = clock
        self._channel = self._key("announce")
        self._connections = Connections(endpoint, patience_s=patience_s)
        self._announcements = Announcements(self._connections, self._channel)
        self._leases = Leases(self._connections, self._announcements, self._key, self._channel)
        self._chaining = asyncio.Lock()  # our own commits queue for the head instead of fighting for it
        self._head = GENESIS

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
            await ledger._announcements.close()
            await ledger._connections.close()

    async def get(self, kind: str, id: str) -> Doc | None:
        value = await self._connections.command("HGET", self._docs(kind), id)
        return None if value is None else _doc(kind, id, value)

    async def all(self, kind: str) -> Sequence[Doc]:
        values: Mapping[bytes, bytes] = await self._connections.command("HGETALL", self._docs(kind))
        return [_doc(kind, id.decode(), value) for id, value in sorted(values.items())]

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

    async def commit(self, change: Change, *, fence: Fence | None = None) -> Mapping[tuple[str, str], int]:
        _check(change)
        bodies = [_sent(write) for write in change.writes]
        id = secrets.token_hex(16)  # Redis stores the outcome under it: a retry after a lost reply commits nothing twice
        if not change.audit:
            return await self._commit(id, change, bodies, fence, "", [])
        now = self._clock()
        lines = [canonical(now, line) for line in change.audit]
        try:
            async with asyncio.timeout(self._connections.patience_s) as waiting, self._chaining:
                waiting.reschedule(None)
                while True:
                    try:
                        return await self._commit(id, change, bodies, fence, self._head, lines)
                    except _OtherHead as other:
                        self._head = other.head
        except TimeoutError as error:
            raise Unavailable("redis: commits before this one are still waiting", hint="start Redis again") from error

    async def _commit(
        self,
        id: str,
        change: Change,
        bodies: Sequence[tuple[str | int, str]],
        fence: Fence | None,
        head: str,
        lines: Sequence[bytes],
    ) -> Mapping[tuple[str, str], int]:
        chains: list[str] = []
        for line in lines:
            chains.append(link(chains[-1] if chains else head, line))
        this = self._key("change", id)
        keys = [this, self._key("audit"), self._key("audit-head"), self._key("lease", fence.name) if fence else this]
        args: list[str | bytes | int] = [
            CHANGE_TTL_MS,
            fence.token if fence else "",
            head,
            chains[-1] if chains else "",
            self._channel,
            len(change.writes),
            TOMBSTONE_TTL_MS,
        ]
        for write, body in zip(change.writes, bodies, strict=True):
            keys += [self._docs(write.kind), self._key("gone", write.kind, write.id)]
            args += [write.kind, write.id, *body]
        for line, chain in zip(lines, chains, strict=True):
            args += [line, chain]
        status, *rest = await self._connections.run(COMMIT, keys, args)
        if status == b"done":
            if chains:
                self._head = chains[-1]
            generations = [int(part) for part in rest[0].split(b",") if part]
            return {(w.kind, w.id): generation for w, generation in zip(change.writes, generations, strict=True)}
        if status == b"head":
            raise _OtherHead(rest[0].decode())
        if status == b"lost":
            assert fence is not None
            raise LostLease(f"lease {fence.name}: token {fence.token} is not valid any more", hint="another process continues")
        stale = change.writes[int(rest[0])]
        if isinstance(stale, Take):
            raise Conflict(f"{stale.kind} {stale.id}: nothing is left of {stale.field}", hint="read it again")
        raise Conflict(
            f"{stale.kind} {stale.id}: expected generation {stale.expected}, found {int(rest[1])}", hint="read it again"
        )

    @asynccontextmanager
    async def watch(self, *kinds: str) -> AsyncIterator[AsyncIterator[Announcement]]:
        watcher = await self._announcements.join(frozenset(kinds))
        try:
            yield watcher
        finally:
            self._announcements.leave(watcher)

    def lease(self, name: str, *, ttl_s: float = 10.0) -> AbstractAsyncContextManager[Fence]:
        return self._leases.hold(name, ttl_s)

    async def audit(self, *, after: str = "-", count: int = 1000) -> Sequence[AuditEntry]:
        if not _STREAM_ID.fullmatch(after):
            raise BadInput(f"after: {after!r} is not the id of an audit line", hint='give "-" or "milliseconds-sequence"')
        start = "-" if after == "-" else f"({after}"
        found = await self._connections.run(AUDIT, [self._key("audit")], [start, count])
        return [_entry(id, fields) for id, fields in found]

    async def audit_last(self) -> AuditEntry | None:
        found = await self._connections.run(AUDIT_LAST, [self._key("audit")], [])
        return _entry(*found[0]) if found else None

    async def audit_head(self) -> str:
        head: bytes | None = await self._connections.command("GET", self._key("audit-head"))
        return GENESIS if head is None else head.decode()

    def _docs(self, kind: str) -> str:
        return self._key("docs", kind)

    def _key(self, *parts: str) -> str:
        return ":".join((f"{{{self._fleet}}}", *parts))


class _OtherHead(Exception):
    """Another process wrote to the trail: chain from its line, and try again."""

    def __init__(self, head: str) -> None:
        super().__init__(head)
        self.head = head


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


def _sent(write: Write | Take) -> _Sent:
    """One write as the script takes it: the expected generation, and the body."""
    if isinstance(write, Take):
        return "take", write.field
    return "" if write.expected is None else write.expected, "" if write.body is None else _json(write, write.body)


def _json(write: Write, body: Body) -> str:
    try:
        return json.dumps(body, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BadInput(f"{write.kind} {write.id}: is not JSON: {error}") from error


def _doc(kind: str, id: str, value: bytes) -> Doc:
    generation, _, body = value.partition(b" ")
    return Doc(kind, id, int(generation), json.loads(body))


def _entry(id: bytes, fields: Sequence[bytes]) -> AuditEntry:
    named = dict(zip(fields[::2], fields[1::2], strict=True))
    line: dict[str, Any] = json.loads(named[b"line"])
    return AuditEntry(
        id.decode(), line["at"], line["action"], line["subject"], line["actor"], line["details"], named[b"chain"].decode()
    )
