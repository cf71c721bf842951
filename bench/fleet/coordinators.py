"""As rollout.py, over two coordinators on one Redis: each has half of the sessions, and one of them decides."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping

from bench.fleet.rollout import END_S, outcome, waves
from bench.fleet.rows import Row, cells, note_of, tell
from bench.fleet.session_load import TELEMETRY_S, connected, enrolled_herd
from bench.fleet.stage import Given
from bench.fleet.usage import cpu_s, mark, spent
from bench.report import Figure, Table

ABOUT = "a release to all nodes in waves, over two coordinators on one Redis"
EXAMPLE = "python -m bench.fleet coordinators --nodes 500"
NODES = (100, 500, 2_000)
COORDINATORS = 2

COLUMNS = (
    *("nodes", "outcome", "rollout_s", "cpu_s", "sessions", "reads_an_event", "redis_s", "events", "lost_sessions"),
    *("unacknowledged", "load", "commit"),
)


async def measured(given: Given) -> Row:
    async with enrolled_herd("coordinators", given, COORDINATORS) as scene:
        stages, herd = (scene.stage, *scene.others), scene.herd
        await connected(scene)
        await herd.ask(do="telemetry", every_s=TELEMETRY_S)
        await asyncio.sleep(TELEMETRY_S if given.seconds is None else given.seconds)
        said = [await stage.counts() for stage in stages]
        counts, before, used = await herd.counts(), mark(scene.stage, herd), [cpu_s(stage.pid) for stage in stages]
        words = ("rollout", "start", scene.stage.release.id, "--waves", waves(given.nodes), "--probation-s", "1")
        started = json.loads(await scene.stage.cloud(*words, "--format", "json"))
        ended = await outcome(scene, started["rollout"], END_S)
        whole = spent(before, mark(scene.stage, herd))
        own = [round(cpu_s(stage.pid) - then, 2) for stage, then in zip(stages, used, strict=True)]
        now, read = await herd.counts(), [await stage.counts() for stage in stages]
        events = sum(int(now[kind] - counts[kind]) for kind in ("reported", "measured", "acknowledged", "welcomed"))
        reads = sum(each["documents_read"] for each in read) - sum(each["documents_read"] for each in said)
        await herd.ask(do="telemetry", every_s=0)
        last = await herd.all_acknowledged(180)
        tell(f"  CPU of each: {own}")
        return {
            "outcome": ended,
            "rollout_s": round(whole.seconds, 1),
            "cpu_s": " + ".join(f"{each:g}" for each in own),
            "sessions": " + ".join(str(each["sessions"]) for each in read),
            "reads_an_event": round(reads / max(1, events), 2),
            "redis_s": round(whole.redis_s, 2),
            "events": events,
            "lost_sessions": int(now["lost"] - counts["lost"]),
            "unacknowledged": int(last["waiting"]),
            "load": round(max(0.0, whole.others_s - sum(own[1:])) / whole.seconds, 2),
        }


def made(rows: Mapping[int, Row]) -> tuple[Table, dict[str, Figure]]:
    table = Table(
        "A rollout over two coordinators",
        COLUMNS,
        cells(rows, COLUMNS),
        (
            "Half of the nodes have enrolled at each, on the Redis of the first; the rollout is as above. `cpu_s`, "
            "`sessions`: of the first and of the second. `reads_an_event`: documents that both read for each message of a node.",
            "`unacknowledged`: nodes whose telemetry was not stored three minutes after the last report.",
        ),
    )
    figures = {
        f"two_coordinators_rollout_s_at_{nodes}": Figure.of(row["rollout_s"], "s", "lower", note_of(row, row["outcome"]))
        for nodes, row in rows.items()
    }
    return table, figures
