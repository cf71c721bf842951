"""One process that holds a whole fleet as the coordinator's deciders do, and makes a rollout's plan.

    python -m bench.fleet.look DATA RELEASE

Prints one line of JSON when the fleet is in memory, and another one when the plan is made.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from bench.fleet.stage import MODEL
from bench.fleet.usage import cpu_s, pss_kb
from littoral_cloud.app import open_core
from littoral_cloud.fleet.view import FleetView
from littoral_cloud.rollouts.plan import make_plan
from littoral_cloud.rollouts.seen import Snapshot
from littoral_cloud.rollouts.seen_fleet import RECORDS, SeenFleet
from littoral_cloud.rollouts.state import Rollout, RolloutPolicy, RolloutState
from littoral_cloud.settings import load_settings

ROLLOUT = "bench-r1"


async def look(data: Path, release_id: str) -> None:
    async with open_core(load_settings(data_dir=data)) as core:
        await core.ledger.get("release", release_id)
        gc.collect()
        before_kb, before_s = pss_kb(os.getpid()), cpu_s(os.getpid())
        view = FleetView(core.ledger, RECORDS)
        fleet = SeenFleet(view)
        following = asyncio.create_task(view.run())
        await view.ready()
        gc.collect()
        say(kb=pss_kb(os.getpid()) - before_kb, cpu_s=cpu_s(os.getpid()) - before_s)
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following
    plan(fleet, release_id)


def plan(fleet: SeenFleet, release_id: str) -> None:
    """Of a rollout of the release to every node; it is never written."""
    of = fleet.view.of
    seen_at = max(held.record.since for held in of("presence").values())
    rollout = Rollout(
        release_id=release_id,
        model=MODEL,
        kind="initial",
        policy=RolloutPolicy(max_accuracy_loss=1.0, allow_interface_change=True),
        state=RolloutState.MEASURING,
        created_at=seen_at,
        entered_at=seen_at,
        deadline=seen_at + 180,
    )
    seen = Snapshot(
        {ROLLOUT: (1, rollout)},
        {id: held.record for id, held in of("release").items()},
        {id: held.record for id, held in of("artifact").items()},
        fleet.nodes,
        fleet.measurements,
    ).of(ROLLOUT)
    began, before_s = time.perf_counter(), cpu_s(os.getpid())
    made = make_plan(seen, seen_at + 1)  # a second after they went: they are away, and are waited for
    say(
        plan_s=time.perf_counter() - began,
        plan_cpu_s=cpu_s(os.getpid()) - before_s,
        assigned=len(made.assignments),
        refused=len(made.refused),
    )


def say(**words: Any) -> None:
    print(json.dumps(words), flush=True)


if __name__ == "__main__":
    asyncio.run(look(Path(sys.argv[1]), sys.argv[2]))
