"""Whoever is cancelled while it waits for Redis ends; a cancel that is lost makes a coordinator that never stops."""

from __future__ import annotations

import asyncio

from littoral_cloud.fleet.ledger import Change, Ledger, Write

pytest_plugins = ("tests.kit.redis",)


async def test_a_call_that_is_cancelled_at_any_moment_is_cancelled(ledger: Ledger) -> None:
    """At each turn of the loop between the call's begin and its end, with another call in flight beside it."""
    await ledger.commit(Change((Write("thing", "a", {}, None),)))
    for turns in range(60):
        for _ in range(5):
            other = asyncio.create_task(ledger.get("thing", "a"))
            call = asyncio.create_task(ledger.get("thing", "a"))
            for _ in range(turns):
                await asyncio.sleep(0)
            asked = call.cancel()
            await asyncio.wait({call, other})
            assert call.cancelled() == asked, f"after {turns} turns"
            other.result()
