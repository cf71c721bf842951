"""What one event costs the coordinator as the fleet grows, without sockets: another coordinator has the sessions.

The events are committed by this process with the domain's own functions, as that other coordinator would: a report of a node,
another budget, a window of telemetry, in turn. The coordinator under test has only to follow them, while a rollout to the whole
fleet waits for its first node. So what is measured is what its deciders do for one event.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping
from dataclasses import replace
from statistics import median

from bench.fleet.driver import telemetry_report
from bench.fleet.population import BOOT, node_id, populate
from bench.fleet.rows import Row, cells, note_of, tell
from bench.fleet.stage import MODEL, Given, Stage, staged
from bench.fleet.usage import Spent, mark, slope, spent
from bench.report import Figure, Table
from littoral.budget import Budget
from littoral_cloud.api.wire import report_from
from littoral_cloud.app import Core
from littoral_cloud.fleet.coordinators import Coordinators
from littoral_cloud.fleet.records import Probation, Reported, load
from littoral_cloud.fleet.sessions import note_budgets, note_reported
from littoral_cloud.fleet.telemetry_desk import TelemetryDesk
from littoral_cloud.releases.catalogue import read_release
from littoral_cloud.rollouts.commands import start_rollout
from littoral_cloud.rollouts.state import KIND, Rollout, RolloutPolicy, RolloutState

ABOUT = "CPU of the coordinator for one event, from 100 to 10,000 nodes"
EXAMPLE = "python -m bench.fleet growth --nodes 1000"
NODES = (100, 300, 1_000, 3_000, 10_000)
OTHER = "0ther" * 3
WAVE_S = 240.0
EVENTS_S = 20.0
EVENTS_A_SECOND = 10.0
QUIET_S = 60.0
QUIET_SHARE = 0.1
ROUNDS = 3
POLICY = RolloutPolicy(probation=Probation(duration_s=3_600.0), max_accuracy_loss=1.0, allow_interface_change=True)

COLUMNS = (
    "nodes",
    "rollout",
    "wave_cpu_s",
    "events",
    "cpu_ms_an_event",
    "redis_ms_an_event",
    "idle_share",
    "reads_an_event",
    "load",
    "commit",
)


async def measured(given: Given) -> Row:
    async with staged("growth", given) as stage, stage.core() as core:
        tell(f"growth, {given.nodes} nodes")
        await populate(core.ledger, given.nodes, stage.release.digests, core.clock(), coordinator=OTHER, connected=True)
        alive = asyncio.Event()
        other = asyncio.create_task(Coordinators(core.ledger, core.clock, OTHER).run(alive.set))
        try:
            await alive.wait()
            return await _measured(stage, core, given)
        finally:
            other.cancel()
            await asyncio.gather(other, return_exceptions=True)


async def _measured(stage: Stage, core: Core, given: Given) -> Row:
    await stage.start()
    await _quiet(stage)
    release = await read_release(core.ledger, stage.release.id)
    before = mark(stage)
    id = await start_rollout(core.ledger, release, core.clock(), POLICY)
    where = await _in_wave(core, id)
    await _quiet(stage)
    wave = spent(before, mark(stage))
    tell(f"  the rollout is {where}: {wave.coordinator_s:.1f} s of CPU")
    before = mark(stage)
    await asyncio.sleep(5)
    idle = spent(before, mark(stage))
    share = idle.coordinator_s / idle.seconds
    rounds, reads, events, last = [], 0, 0, idle
    for turn in range(ROUNDS):
        said, before = await stage.counts(), mark(stage)
        count = await _events(core, given, turn)
        await _quiet(stage)
        last = spent(before, mark(stage))
        reads += (await stage.counts())["documents_read"] - said["documents_read"]
        events += count
        rounds.append((count, last))
        tell(f"  {count} events: {1e3 * last.coordinator_s / count:.2f} ms each")
    return {
        "rollout": where,
        "wave_cpu_s": round(wave.coordinator_s, 2),
        "events": events,
        "samples": [round(_ms(count, found, share), 3) for count, found in rounds],
        "cpu_ms_an_event": round(median(_ms(count, found, share) for count, found in rounds), 3),
        "redis_ms_an_event": round(median(1e3 * found.redis_s / count for count, found in rounds), 3),
        "idle_share": round(share, 4),
        "reads_an_event": round(reads / events, 2),
        "load": round(last.others, 2),
    }


def _ms(count: int, found: Spent, idle_share: float) -> float:
    """CPU for one event, less what the coordinator uses when nothing happens."""
    return max(0.01, 1e3 * (found.coordinator_s - idle_share * found.seconds) / count)


async def _in_wave(core: Core, id: str) -> str:
    """Waits until the first node has its candidate; says where the rollout is."""
    until = time.monotonic() + WAVE_S
    while True:
        doc = await core.ledger.get(KIND, id)
        assert doc is not None
        rollout = load(Rollout, doc)
        if rollout.state is RolloutState.WAVE or time.monotonic() > until:
            return str(rollout.state)
        await asyncio.sleep(0.5)


async def _quiet(stage: Stage) -> None:
    until = time.monotonic() + QUIET_S
    while time.monotonic() < until:
        before = mark(stage)
        await asyncio.sleep(1)
        after = spent(before, mark(stage))
        if after.coordinator_s < QUIET_SHARE * after.seconds:
            return


async def _events(core: Core, given: Given, turn: int) -> int:
    """At an even pace; gives how many there were."""
    loop, number = asyncio.get_running_loop(), 0
    seconds = given.seconds or EVENTS_S
    began = loop.time()
    while loop.time() - began < seconds:
        id = node_id((turn * 7_919 + number * 31 + 1) % given.nodes)
        await _event(core, id, turn, number)
        number += 1
        await asyncio.sleep(max(0.0, began + number / EVENTS_A_SECOND - loop.time()))
    return number


async def _event(core: Core, id: str, turn: int, number: int) -> None:
    if number % 3 == 0:
        doc = await core.ledger.get("reported", id)
        assert doc is not None
        before = load(Reported, doc)
        await note_reported(core.ledger, id, replace(before, generation=before.generation + 1, problem=f"{turn}-{number}"))
    elif number % 3 == 1:
        budget = Budget(artifact_bytes=10_000_000 + number + 1_000 * turn)
        await note_budgets(core.ledger, id, {"": budget}, {"on_mains": True})
    else:
        word = telemetry_report(MODEL, "")
        word.boot_id, word.sequence = BOOT, 1_000 * (turn + 1) + number
        word.ClearField("class_counts")
        desk = TelemetryDesk(core.ledger, core.clock, flush_s=0.0)
        await desk.take(id, report_from(word), lambda boot_id, last: None)


def made(rows: Mapping[int, Row]) -> tuple[Table, dict[str, Figure]]:
    table = Table(
        "One event, as the fleet grows",
        COLUMNS,
        cells(rows, COLUMNS),
        (
            "Nodes are documents, and connected to another coordinator that lives; a rollout to all of them waits for its first "
            f"node. Events at {EVENTS_A_SECOND:g} a second: a report, another budget, a window of telemetry, in turn. CPU of the "
            "coordinator's process until it is quiet again, less what it uses when nothing happens; median of three rounds.",
            "`wave_cpu_s`: from the rollout's start to its first wave.",
        ),
    )
    figures: dict[str, Figure] = {}
    for nodes, row in rows.items():
        figures[f"event_cpu_ms_at_{nodes}"] = Figure(
            tuple(row["samples"]), "ms", "lower", note_of(row, f"the rollout was {row['rollout']}")
        )
    if len(rows) >= 3 and {min(NODES), max(NODES)} <= rows.keys():
        x, y = [math.log(n) for n in rows], [math.log(row["cpu_ms_an_event"]) for row in rows.values()]
        note = note_of(rows[max(NODES)], f"slope of log CPU over log nodes, {min(NODES)} to {max(NODES):,}")
        figures["growth_exponent"] = Figure.of(round(slope(x, y), 3), "", "lower", note)
    return table, figures
