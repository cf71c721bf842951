"""A view of the fleet that follows a ledger, as a coordinator has one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from littoral_cloud.fleet.ledger import Ledger
from littoral_cloud.fleet.view import FleetView
from littoral_cloud.rollouts.seen_fleet import RECORDS, SeenFleet


@asynccontextmanager
async def following(ledger: Ledger) -> AsyncIterator[SeenFleet]:
    view = FleetView(ledger, RECORDS)
    fleet = SeenFleet(view)
    task = asyncio.create_task(view.run())
    try:
        await view.ready()
        yield fleet
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
