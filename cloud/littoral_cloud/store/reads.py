"""Readings of documents that come at one time go to Redis as one script.

A fleet's sessions read a document or two each, at the same moments: when a rollout tells 2,000 nodes, and when these report. For
each, a call of its own costs a connection of the pool, a timer and a round trip: more than the reading.

Rules:

1. What is asked for in one turn of the event loop, up to `MOST_DOCUMENTS`, goes in one script; while `AT_ONCE` scripts are
   under way, what comes waits for the next one.
2. A reading is sent after it was asked for, so it holds all that was committed before.
3. An error of a script is the error of each reading in it; Connections has tried again by then.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from littoral.errors import FleetError, Unavailable
from littoral_cloud.store.connection import Connections
from littoral_cloud.store.scripts import GET_MANY

MOST_DOCUMENTS = 1000
"""That are read at one time: Redis answers no other call meanwhile, for a few milliseconds."""
AT_ONCE = 4

Named = tuple[str, str]
"""(kind, id)"""


@dataclass(frozen=True, slots=True)
class _Reading:
    wanted: Sequence[Named]
    answer: asyncio.Future[Sequence[bytes | None]]


class Reads:
    """Args:
    docs: the key of a kind's documents.
    """

    def __init__(self, redis: Connections, docs: Callable[[str], str]) -> None:
        self._redis = redis
        self._docs = docs
        self._waiting: deque[_Reading] = deque()
        self._sending: set[asyncio.Task[None]] = set()

    async def get_many(self, wanted: Sequence[Named]) -> Sequence[bytes | None]:
        """ "GENERATION JSON" of each, None where there is none. At most MOST_DOCUMENTS. Raises Unavailable."""
        if not wanted:
            return ()
        reading = _Reading(wanted, asyncio.get_running_loop().create_future())
        self._waiting.append(reading)
        if len(self._sending) < AT_ONCE:
            sending = asyncio.create_task(self._send(), name="reads")
            self._sending.add(sending)
            sending.add_done_callback(self._sending.discard)
        return await reading.answer

    async def close(self) -> None:
        sending = tuple(self._sending)
        for task in sending:
            task.cancel()
        await asyncio.gather(*sending, return_exceptions=True)
        self._fail(self._waiting, Unavailable("redis: the ledger was closed"))
        self._waiting.clear()

    async def _send(self) -> None:
        while group := self._next_group():
            try:
                wanted = [named for each in group for named in each.wanted]
                values = await self._redis.run(GET_MANY, [self._docs(kind) for kind, _ in wanted], [id for _, id in wanted])
            except FleetError as error:
                self._fail(group, error)
                continue
            except asyncio.CancelledError:
                self._fail(group, Unavailable("redis: the ledger was closed"))
                raise
            at = 0
            for each in group:
                if not each.answer.done():
                    each.answer.set_result(values[at : at + len(each.wanted)])
                at += len(each.wanted)

    def _next_group(self) -> list[_Reading]:
        """Without those whose asker has gone meanwhile."""
        group: list[_Reading] = []
        documents = 0
        while self._waiting and documents + len(self._waiting[0].wanted) <= MOST_DOCUMENTS:
            reading = self._waiting.popleft()
            if not reading.answer.done():
                group.append(reading)
                documents += len(reading.wanted)
        return group

    def _fail(self, group: Sequence[_Reading] | deque[_Reading], error: FleetError) -> None:
        for each in group:
            if not each.answer.done():
                each.answer.set_exception(error)
