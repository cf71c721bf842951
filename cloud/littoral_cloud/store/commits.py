"""Commits in groups: all changes that wait go to Redis in one script, so that the number of round trips does not grow with them.

Rules, in order:

1. A change is sent at once where none is under way; else it waits for the next group. Groups go one after another.
2. A group holds no document twice, and is bounded in size. Changes go in the order in which they came, so that a sender's own
   changes never pass each other.
3. A group is written whole or not at all. Where one of its changes cannot be written, that one is answered, and the rest is sent
   again: one sender's conflict is that sender's.
4. Lines for the audit trail are chained here, from the head that was seen last. Where another process wrote to the trail, the
   group is chained from its head, and sent again.
5. A group that fails for a reason that names none of its changes is sent change by change.
6. A change that could be written twice after a lost reply is remembered by Redis under its own id. It could not be where it has
   no audit line and each of its writes expects a generation that was there: the second one conflicts.

7. A group with audit lines, or with a fence, is answered once as many replicas have it as the settings ask for.

Example: 200 nodes report within 5 ms. The first report goes alone; the other 199, with their audit lines, are the next group.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from littoral.errors import BadInput, Conflict, FleetError, LostLease, Unavailable
from littoral_cloud.fleet.ledger import IN_ORDER, Change, CommittedChange, Fence, Take, Write
from littoral_cloud.store.connection import Connections
from littoral_cloud.store.scripts import COMMIT
from littoral_cloud.trust.audit_chain import GENESIS, canonical, link

CHANGE_TTL_MS = 10 * 60 * 1000  # far longer than a commit is retried
TOMBSTONE_TTL_MS = 30 * 24 * 3600 * 1000  # a document that comes back within this goes on counting generations
STREAM_ENTRIES = 50_000
"""Of changes, about. A reader that was away for more of them reads everything again."""
GROUP_WRITES = 512
"""In one group, but for a change that has more by itself: Redis answers no other call meanwhile, for some milliseconds."""

_Sent = tuple[str | int, str]


@dataclass(frozen=True, slots=True)
class _Waiting:
    change: Change
    bodies: Sequence[_Sent]  # of its writes
    lines: Sequence[bytes]  # canonical
    fence: Fence | None
    id: str
    answer: asyncio.Future[CommittedChange]

    @property
    def documents(self) -> frozenset[tuple[str, str]]:
        return frozenset((write.kind, write.id) for write in self.change.writes)

    @property
    def must_last(self) -> bool:
        """A change of intent, which nothing would tell again after a failover that lost it. What nodes report, they repeat."""
        return bool(self.lines) or self.fence is not None

    @property
    def remembered(self) -> bool:
        return self.must_last or any(isinstance(w, Take) or not w.expected or w.body is None for w in self.change.writes)


class Commits:
    """Args:
    key: makes a key of the fleet from its parts.
    clock: seconds since 1970-01-01 UTC, for audit lines.
    """

    def __init__(self, redis: Connections, key: Callable[..., str], clock: Callable[[], float]) -> None:
        self._redis = redis
        self._key = key
        self._clock = clock
        self._waiting: deque[_Waiting] = deque()
        self._sending: asyncio.Task[None] | None = None
        self._head = GENESIS
        self._unanswered: dict[str, float] = {}  # by id, when it came: the oldest first

    @property
    def wait_s(self) -> float:
        """How long the oldest change that has no answer yet has waited; 0: there is none."""
        return max((asyncio.get_running_loop().time() - since for since in islice(self._unanswered.values(), 1)), default=0.0)

    async def commit(self, change: Change, fence: Fence | None) -> CommittedChange:
        """As Ledger.commit; the change has been checked."""
        now = self._clock()
        lines = [canonical(now, line) for line in change.audit]
        answer: asyncio.Future[CommittedChange] = asyncio.get_running_loop().create_future()
        id = secrets.token_hex(16)
        self._waiting.append(_Waiting(change, [_sent(write) for write in change.writes], lines, fence, id, answer))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send_all(), name="commits")
        self._unanswered[id] = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(2 * self._redis.patience_s):  # of the group before this one, and of its own
                return await answer
        except TimeoutError as error:
            raise Unavailable("redis: commits before this one are still waiting", hint="start Redis again") from error
        finally:
            del self._unanswered[id]

    async def close(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)

    async def _send_all(self) -> None:
        group: list[_Waiting] = []
        try:
            while self._waiting:
                group = self._next_group()
                try:
                    await self._write(group)
                except FleetError as error:
                    await self._one_by_one(group, error)
        finally:
            self._sending = None
            for each in (*group, *self._waiting):  # none where this did not end by a cancel
                _answer(each, Unavailable("redis: the ledger was closed before this change was written"))
            self._waiting.clear()

    def _next_group(self) -> list[_Waiting]:
        """Changes whose sender has gone meanwhile are left out."""
        group: list[_Waiting] = []
        documents: set[tuple[str, str]] = set()
        while self._waiting:
            first = self._waiting[0]
            if not first.answer.done():
                own = first.documents
                if group and (len(documents) + len(own) > GROUP_WRITES or not documents.isdisjoint(own)):
                    break
                group.append(first)
                documents |= own
            self._waiting.popleft()
        return group

    async def _one_by_one(self, group: Sequence[_Waiting], error: FleetError) -> None:
        left = [each for each in group if not each.answer.done()]
        if len(left) == 1 or isinstance(error, Unavailable):
            for each in left:
                _answer(each, error)
            return
        for each in left:
            try:
                await self._write([each])
            except FleetError as own:
                await self._one_by_one([each], own)

    async def _write(self, group: Sequence[_Waiting]) -> None:
        """Answers each change of the group. Raises FleetError for those that have no answer then."""
        left = list(group)
        while left:
            lines = [line for each in left for line in each.lines]
            chains: list[str] = []
            for line in lines:
                chains.append(link(chains[-1] if chains else self._head, line))
            run = self._redis.run_durably if any(each.must_last for each in left) else self._redis.run
            status, *rest = await run(COMMIT, *self._script_input(left, lines, chains))
            if status == b"head":
                self._head = rest[0].decode()
            elif status == b"done":
                self._head = chains[-1] if chains else self._head
                for each, reply in zip(left, rest[1:], strict=True):
                    _answer(each, _committed(each.change, reply, int(rest[0])))
                return
            else:
                left = [each for each, result in zip(left, rest, strict=True) if not _settled(each, *result)]

    def _script_input(
        self, group: Sequence[_Waiting], lines: Sequence[bytes], chains: Sequence[str]
    ) -> tuple[list[str], list[str | bytes | int]]:
        keys = [self._key("audit"), self._key("audit-head"), self._key("changes"), self._key("changes-count")]
        args: list[str | bytes | int] = [
            CHANGE_TTL_MS,
            self._head if chains else "",
            chains[-1] if chains else "",
            TOMBSTONE_TTL_MS,
            STREAM_ENTRIES,
            secrets.randbits(62),
            len(group),
        ]
        for each in group:
            this = self._key("change", each.id)
            keys += [this, self._key("lease", each.fence.name) if each.fence else this]
            args += ["1" if each.remembered else "", each.fence.token if each.fence else "", len(each.change.writes)]
            for write, body in zip(each.change.writes, each.bodies, strict=True):
                keys += [self._key("docs", write.kind), self._key("gone", write.kind, write.id)]
                args += [write.kind, write.id, *body, _letters(write)]
        for line, chain in zip(lines, chains, strict=True):
            args += [line, chain]
        return keys, args


def _sent(write: Write | Take) -> _Sent:
    """One write as the script takes it: the expected generation, and the body."""
    if isinstance(write, Take):
        return "take", write.field
    expected = "" if write.expected is None else write.expected
    if write.body is None:
        return expected, ""
    try:
        return expected, json.dumps(dict(write.body), separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BadInput(f"{write.kind} {write.id}: is not JSON: {error}") from error


def _letters(write: Write | Take) -> str:
    quiet = "q" if isinstance(write, Write) and write.quiet else ""
    return quiet + ("i" if write.kind in IN_ORDER else "")


def _settled(waiting: _Waiting, status: bytes, *rest: bytes) -> bool:
    """Answers a change that cannot be written, or that was; False where it fits."""
    change = waiting.change
    if status == b"fits":
        return False
    if status == b"done":
        _answer(waiting, _committed(change, rest[0], 0))
        return True
    if status == b"lost":
        assert waiting.fence is not None
        name, token = waiting.fence.name, waiting.fence.token
        _answer(waiting, LostLease(f"lease {name}: token {token} is not valid any more", hint="another process continues"))
        return True
    stale = change.writes[int(rest[0])]
    what = (
        f"nothing is left of {stale.field}"
        if isinstance(stale, Take)
        else f"expected generation {stale.expected}, found {int(rest[1])}"
    )
    _answer(waiting, Conflict(f"{stale.kind} {stale.id}: {what}", hint="read it again"))
    return True


def _answer(waiting: _Waiting, answer: CommittedChange | FleetError) -> None:
    if waiting.answer.done():  # its sender has gone
        return
    if isinstance(answer, FleetError):
        waiting.answer.set_exception(answer)
    else:
        waiting.answer.set_result(answer)


def _committed(change: Change, reply: bytes, position: int) -> CommittedChange:
    generations: Mapping[tuple[str, str], int] = {
        (write.kind, write.id): int(part) for write, part in zip(change.writes, reply.split(b",") if reply else [], strict=True)
    }
    return CommittedChange(generations, position)
