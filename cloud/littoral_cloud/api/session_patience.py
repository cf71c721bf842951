"""How long a session waits for Redis: briefly before its Welcome, since the node comes again, and afterwards without end."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from littoral.errors import Unavailable
from littoral_cloud.api.session_stream import RETRY_S, ended
from littoral_cloud.fleet.sessions import Reason

log = logging.getLogger(__name__)

T = TypeVar("T")

HELLO_LEDGER_S = 5.0


async def ledger_soon(work: Awaitable[T]) -> T:
    """Raises SessionEnded where Redis does not answer soon."""
    try:
        async with asyncio.timeout(HELLO_LEDGER_S):
            return await work
    except (Unavailable, TimeoutError):
        raise ended(Reason.UNAVAILABLE, "the cloud cannot reach its Redis now", RETRY_S) from None


async def patiently(node_id: str, rng: random.Random, work: Callable[[], Awaitable[T]]) -> T:
    """Does it again until Redis answers."""
    while True:
        try:
            return await work()
        except Unavailable as error:
            log.warning("session of %s: waits for Redis: %s", node_id, error.message)
            await asyncio.sleep(RETRY_S * rng.uniform(0.25, 1.0))
