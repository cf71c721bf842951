"""A real release to all nodes in waves, by `littoral-cloud rollout start`: how long, what it costs, what is read for it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping

from bench.fleet.rows import Row, cells, note_of, tell
from bench.fleet.session_load import TELEMETRY_S, Scene, connected, enrolled_herd
from bench.fleet.stage import Given
from bench.fleet.usage import mark, pss_kb, spent
from bench.report import Figure, Table
from littoral_cloud.fleet.records import load
from littoral_cloud.rollouts.state import ENDED, KIND, Rollout

ABOUT = "a release to all nodes in waves"
EXAMPLE = "python -m bench.fleet rollout --nodes 500"
NODES = (100, 500, 2_000)
SMALL = 100
"""What the growth of readings is compared with."""
END_S = 600.0
"""So long a rollout may take; then the row says where it stood."""
LOOK_S = 2.0

COLUMNS = (
    *("nodes", "outcome", "rollout_s", "cpu_s", "cpu_ms_a_node", "ms_an_event", "redis_s", "events", "reads_an_event"),
    *("lost_sessions", "kb_after", "load", "commit"),
)


def waves(nodes: int) -> str:
    """1, 5 %, 25 %, the rest."""
    return ",".join(str(max(1, size)) for size in (1, nodes // 20, nodes // 4))


async def measured(given: Given) -> Row:
    async with enrolled_herd("rollout", given) as scene:
        stage, herd = scene.stage, scene.herd
        await connected(scene)
        await herd.ask(do="telemetry", every_s=TELEMETRY_S)
        await asyncio.sleep(TELEMETRY_S)
        counts, said, before = await herd.counts(), await stage.counts(), mark(stage, herd)
        words = ("rollout", "start", stage.release.id, "--waves", waves(given.nodes), "--probation-s", "1", "--format", "json")
        started = json.loads(await stage.cloud(*words))
        ended = await outcome(scene, started["rollout"], given.seconds or END_S)
        after = mark(stage, herd)
        whole, now, read = spent(before, after), await herd.counts(), await stage.counts()
        kinds = ("reported", "measured", "acknowledged", "welcomed")
        events = sum(int(now[kind] - counts[kind]) for kind in kinds)
        return {
            "outcome": ended,
            "rollout_s": round(whole.seconds, 1),
            "cpu_s": round(whole.coordinator_s, 2),
            "cpu_ms_a_node": round(1e3 * whole.coordinator_s / given.nodes, 1),
            "ms_an_event": round(1e3 * whole.coordinator_s / max(1, events), 2),
            "redis_s": round(whole.redis_s, 2),
            "events": events,
            "reads_an_event": round((read["documents_read"] - said["documents_read"]) / max(1, events), 2),
            "lost_sessions": int(now["lost"] - counts["lost"]),
            "kb_after": round(pss_kb(stage.pid)),
            "load": round(whole.others, 2),
        }


async def outcome(scene: Scene, id: str, limit_s: float) -> str:
    """How it ended, in words; where it stood, if it did not."""
    until, last = time.monotonic() + limit_s, ""
    while True:
        async with scene.stage.core() as core:
            while True:
                doc = await core.ledger.get(KIND, id)
                assert doc is not None
                rollout = load(Rollout, doc)
                done, of = (
                    rollout.waves_started - (rollout.running_wave is not None),
                    rollout.waves_started + rollout.waves_to_come,
                )
                now = f"{rollout.state}, {done} of {of} waves" + (f": {rollout.reason[:80]}" if rollout.reason else "")
                if now != last:
                    tell(f"  {now}")
                    last = now
                if rollout.state in ENDED:
                    return str(rollout.state) if rollout.state == "SUCCEEDED" else now
                if time.monotonic() > until:
                    return f"not ended after {limit_s:.0f} s: {now}"
                await asyncio.sleep(LOOK_S)


def made(rows: Mapping[int, Row]) -> tuple[Table, dict[str, Figure]]:
    table = Table(
        "A rollout to all nodes",
        COLUMNS,
        cells(rows, COLUMNS),
        (
            "Four candidates, waves of 1, 5 %, 25 % and the rest, a probation of 1 s; nodes measure what they are asked to, and "
            "report the four steps of the update, as good agents; they fetch no artifact. Telemetry goes on each 10 s.",
            "`events`: reports, measurements and telemetry that nodes sent meanwhile, and new sessions; `reads_an_event`: "
            "documents that the coordinator read from Redis for each.",
        ),
    )
    figures: dict[str, Figure] = {}
    for nodes, row in rows.items():
        note = note_of(row, row["outcome"])
        figures[f"rollout_s_at_{nodes}"] = Figure.of(row["rollout_s"], "s", "lower", note)
        figures[f"rollout_cpu_ms_a_node_at_{nodes}"] = Figure.of(row["cpu_ms_a_node"], "ms", "lower", note)
        figures[f"reads_an_event_at_{nodes}"] = Figure.of(row["reads_an_event"], "documents", "lower", note)
    large, small = rows.get(max(NODES)), rows.get(SMALL)
    if large and small and small["reads_an_event"]:
        ratio = round(large["reads_an_event"] / small["reads_an_event"], 3)
        figures["reads_growth"] = Figure.of(
            ratio, "", "lower", note_of(large, f"over {SMALL} nodes, in a rollout: {large['outcome']}")
        )
    return table, figures
