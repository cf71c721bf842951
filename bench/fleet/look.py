"""One process that looks at a whole fleet and makes a rollout's plan: what a decider must hold, and how long a plan takes.

    python -m bench.fleet.look DATA RELEASE

Prints one line of JSON when the fleet is in memory, and another one when the plan is made.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import importlib.util
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.fleet.usage import cpu_s, pss_kb
from littoral_cloud.app import open_core
from littoral_cloud.fleet.ledger import Doc, Ledger
from littoral_cloud.fleet.measurements import MeasurementRecord
from littoral_cloud.fleet.records import Artifact, Desired, Node, Presence, Release, Reported, dump, load
from littoral_cloud.rollouts.plan import make_plan
from littoral_cloud.rollouts.seen import KINDS, snapshot_of
from littoral_cloud.rollouts.state import Rollout, RolloutPolicy, RolloutState
from littoral_cloud.settings import load_settings

VIEW = "littoral_cloud.fleet.view"
RECORDS: dict[str, type] = {
    "node": Node,
    "presence": Presence,
    "desired": Desired,
    "reported": Reported,
    "measurement": MeasurementRecord,
    "artifact": Artifact,
    "release": Release,
    "rollout": Rollout,
}
"""What the deciders of rollouts follow."""


async def look(data: Path, release_id: str) -> None:
    async with open_core(load_settings(data_dir=data)) as core:
        await core.ledger.get("release", release_id)
        gc.collect()
        before_kb, before_s = pss_kb(os.getpid()), cpu_s(os.getpid())
        held = await _held(core.ledger)
        gc.collect()
        say(
            held="FleetView" if importlib.util.find_spec(VIEW) else "Snapshot",
            kb=pss_kb(os.getpid()) - before_kb,
            cpu_s=cpu_s(os.getpid()) - before_s,
        )
        await _plan(core.ledger, release_id)
    del held


async def _held(ledger: Ledger) -> Any:
    """Everything that a decider holds, in memory: by the coordinator's own view where there is one."""
    if importlib.util.find_spec(VIEW) is None:
        return snapshot_of([doc for kind in KINDS for doc in await ledger.all(kind)])
    view = importlib.import_module(VIEW).FleetView(ledger, RECORDS)
    following = asyncio.create_task(view.run())
    await view.ready()
    following.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await following
    return view


async def _plan(ledger: Ledger, release_id: str) -> None:
    """For a rollout of the release to every node; it is never written."""
    docs = [doc for kind in KINDS for doc in await ledger.all(kind)]
    seen_at = max(load(Presence, doc).since for doc in docs if doc.kind == "presence")
    rollout = Rollout(
        release_id=release_id,
        model="table",
        kind="initial",
        policy=RolloutPolicy(max_accuracy_loss=1.0, allow_interface_change=True),
        state=RolloutState.MEASURING,
        created_at=seen_at,
        entered_at=seen_at,
        deadline=seen_at + 180,
        cohort=tuple(sorted(doc.id for doc in docs if doc.kind == "node")),
    )
    seen = replace(snapshot_of([*docs, Doc("rollout", "bench-r1", 1, dump(rollout))]).of("bench-r1"))
    del docs
    began, before_s = time.perf_counter(), cpu_s(os.getpid())
    plan = make_plan(seen, seen_at + 1)  # a second after they went: they are away, and are waited for
    say(
        plan_s=time.perf_counter() - began,
        plan_cpu_s=cpu_s(os.getpid()) - before_s,
        assigned=len(plan.assignments),
        refused=len(plan.refused),
    )


def say(**words: Any) -> None:
    print(json.dumps(words), flush=True)


if __name__ == "__main__":
    asyncio.run(look(Path(sys.argv[1]), sys.argv[2]))
