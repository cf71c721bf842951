"""How use cases that look at much read it: from the view of the fleet, which costs nothing; without one, from the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from littoral_cloud.commands.use_case import Office
from littoral_cloud.fleet.records import load
from littoral_cloud.releases.catalogue import read_release
from littoral_cloud.rollouts.preview import read_before
from littoral_cloud.rollouts.seen import RolloutView, read_one
from littoral_cloud.rollouts.state import KIND, Rollout

R = TypeVar("R")


async def records_of(office: Office, kind: str, record: type[R]) -> dict[str, R]:
    """All records of a kind that the view follows, by id."""
    if office.view is not None:
        await office.view.ready()
        return {id: held.record for id, held in office.view.of(kind).items()}
    return {doc.id: load(record, doc) for doc in await office.core.ledger.all(kind)}


async def rollout_seen(office: Office, rollout_id: str) -> RolloutView | None:
    """What one rollout sees, also when it has ended; None: there is none. While it goes on, a coordinator reads its own view."""
    fleet = office.fleet
    if fleet is not None:
        await fleet.view.ready()
        doc, held = await office.core.ledger.get(KIND, rollout_id), fleet.view.of(KIND).get(rollout_id)
        if doc is not None and (held is None or held.generation < doc.generation):
            await fleet.view.catch_up()
        if rollout_id in fleet.live_rollouts():
            return fleet.of(rollout_id)
    return await read_one(office.core.ledger, rollout_id)


async def would_see(office: Office, rollout: Rollout) -> RolloutView:
    """What a rollout would see that is not written."""
    if office.fleet is None:
        ledger = office.core.ledger
        return await read_before(ledger, await read_release(ledger, rollout.release_id), rollout.policy, office.core.clock())
    await office.fleet.view.catch_up()
    return office.fleet.before(rollout)


async def apart(look: Callable[[RolloutView, float], R], seen: RolloutView, now: float) -> R:
    """A look at what a rollout sees, in a thread where it walks over a large fleet."""
    return await asyncio.to_thread(look, seen.standing_still(), now) if seen.is_long else look(seen, now)
