"""Half an hour with telemetry: whether the memory of the coordinator and of Redis grows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import asdict

from bench.fleet.rows import Row, cells, note_of, tell
from bench.fleet.session_load import TELEMETRY_S, connected, enrolled_herd
from bench.fleet.stage import Given
from bench.fleet.trend import trend
from bench.fleet.usage import mark, own_kb, redis_mb, rss_kb, spent
from bench.report import Figure, Table

ABOUT = "half an hour of telemetry: does memory grow"
EXAMPLE = "python -m bench.fleet soak --nodes 500 --seconds 1800"
NODES = (500,)
SOAK_S = 1_800.0
LEFT_OUT = 1 / 6
"""Of the time, at its start: the first five of thirty minutes."""
EVERY_S = 1.0
MINUTE_S = 60.0
TOLD_EACH = 120

COLUMNS = (
    *("nodes", "minutes", "coordinator_mb", "coordinator_slope", "coordinator_own_slope", "redis_mb", "redis_slope"),
    *("redis_own_slope", "redis_used_mb", "reports", "unacknowledged", "lost_sessions", "cpu_share", "load", "commit"),
)


async def measured(given: Given) -> Row:
    seconds = given.seconds or SOAK_S
    async with enrolled_herd("soak", given) as scene:
        stage, herd = scene.stage, scene.herd
        await connected(scene)
        await herd.ask(do="telemetry", every_s=TELEMETRY_S)
        began, first = time.monotonic(), mark(stage, herd)
        pids = {"coordinator": stage.pid, "redis": stage.redis_pid}
        samples: dict[str, list[tuple[float, float]]] = {f"{name}{own}": [] for name in pids for own in ("", "_own")}
        while (at := time.monotonic() - began) < seconds:
            for name, pid in pids.items():
                samples[name].append((at, rss_kb(pid) / 1e3))
                samples[f"{name}_own"].append((at, own_kb(pid) / 1e3))
            if len(samples["redis"]) % TOLD_EACH == 1:
                now = (f"{name} {values[-1][1]:.1f} MB" for name, values in samples.items())
                tell(f"  {at / 60:5.1f} min: {', '.join(now)}")
            await asyncio.sleep(min(EVERY_S, seconds / 100))
        whole, counts = spent(first, mark(stage, herd)), await herd.counts()
        trends = {
            name: trend([sample for sample in values if sample[0] >= seconds * LEFT_OUT], min(MINUTE_S, seconds / 30))
            for name, values in samples.items()
        }
        return {
            "minutes": round(seconds / 60, 1),
            **{f"{name}_mb": round(samples[name][-1][1], 1) for name in pids},
            **{f"{name}_slope": str(found) for name, found in trends.items()},
            "slopes": {name: asdict(found) for name, found in trends.items()},
            "redis_used_mb": round(redis_mb(stage), 1),
            "reports": int(counts["acknowledged"]),
            "unacknowledged": int(counts["cut"] - counts["acknowledged"]),
            "lost_sessions": int(counts["lost"]),
            "cpu_share": round(whole.coordinator_s / whole.seconds, 3),
            "load": round(whole.others, 2),
        }


def made(rows: Mapping[int, Row]) -> tuple[Table, dict[str, Figure]]:
    table = Table(
        "Memory over time",
        COLUMNS,
        cells(rows, COLUMNS),
        (
            "Telemetry each 10 s. Resident memory (RSS), a sample each second, without the first sixth of the time: the median "
            "of the slopes between all pairs of minutes (Theil and Sen), in per cent of the mean for an hour, and its 95 % "
            "interval. `_own_`: of what the process allocated, without the pages of files, which the kernel may drop.",
        ),
    )
    figures: dict[str, Figure] = {}
    for nodes, row in rows.items():
        at = "" if nodes in NODES and row["minutes"] >= SOAK_S / 60 else f"_{row['minutes']:g}_min_at_{nodes}"
        names = [name for name in row["slopes"] if not name.endswith("_own")]
        worst = max(names, key=lambda name: row["slopes"][name]["slope"])
        note = note_of(row, "the larger of both, with its 95 % interval: " + ", ".join(f"{n} {row[f'{n}_slope']}" for n in names))
        found = round(row["slopes"][worst]["slope"], 2)
        figures[f"soak_slope_pct_per_hour{at}"] = Figure.of(found, "% an hour", "lower", note)
    return table, figures
