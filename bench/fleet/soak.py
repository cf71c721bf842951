"""Half an hour with telemetry: whether the memory of the coordinator and of Redis grows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from bench.fleet.rows import Row, cells, note_of, tell
from bench.fleet.session_load import TELEMETRY_S, connected, enrolled_herd
from bench.fleet.stage import Given
from bench.fleet.usage import mark, pss_kb, redis_mb, slope, spent
from bench.report import Figure, Table

ABOUT = "half an hour of telemetry: does memory grow"
EXAMPLE = "python -m bench.fleet soak --nodes 500 --seconds 1800"
NODES = (500,)
SOAK_S = 1_800.0
LEFT_OUT = 1 / 6
"""Of the time, at its start: the first five of thirty minutes."""
EVERY_S = 10.0
TOLD_EACH = 12

COLUMNS = (
    *("nodes", "minutes", "coordinator_mb", "coordinator_slope", "redis_mb", "redis_slope", "redis_used_mb", "reports"),
    *("unacknowledged", "lost_sessions", "cpu_share", "load", "commit"),
)


async def measured(given: Given) -> Row:
    seconds = given.seconds or SOAK_S
    async with enrolled_herd("soak", given) as scene:
        stage, herd = scene.stage, scene.herd
        await connected(scene)
        await herd.ask(do="telemetry", every_s=TELEMETRY_S)
        began, first = time.monotonic(), mark(stage, herd)
        samples: list[tuple[float, float, float]] = []
        while (at := time.monotonic() - began) < seconds:
            samples.append((at, pss_kb(stage.pid) / 1e3, pss_kb(stage.redis_pid) / 1e3))
            if len(samples) % TOLD_EACH == 1:
                tell(f"  {at / 60:5.1f} min: coordinator {samples[-1][1]:.1f} MB, Redis {samples[-1][2]:.1f} MB")
            await asyncio.sleep(min(EVERY_S, seconds / 10))
        whole, counts = spent(first, mark(stage, herd)), await herd.counts()
        later = [sample for sample in samples if sample[0] >= seconds * LEFT_OUT]
        hours = [sample[0] / 3_600 for sample in later]
        slopes = []
        for which in (1, 2):
            sizes = [sample[which] for sample in later]
            slopes.append(round(100 * slope(hours, sizes) / (sum(sizes) / len(sizes)), 2))
        return {
            "minutes": round(seconds / 60, 1),
            "coordinator_mb": round(later[-1][1], 1),
            "coordinator_slope": slopes[0],
            "redis_mb": round(later[-1][2], 1),
            "redis_slope": slopes[1],
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
            "Telemetry each 10 s. The slope of the straight line through the resident memory, in per cent of its mean for an "
            "hour, without the first sixth of the time; a sample each 10 s.",
        ),
    )
    figures: dict[str, Figure] = {}
    for nodes, row in rows.items():
        at = "" if nodes in NODES and row["minutes"] >= SOAK_S / 60 else f"_{row['minutes']:g}_min_at_{nodes}"
        worst = max(row["coordinator_slope"], row["redis_slope"])
        note = note_of(row, f"the larger of both: coordinator {row['coordinator_slope']}, Redis {row['redis_slope']}")
        figures[f"soak_slope_pct_per_hour{at}"] = Figure.of(worst, "% an hour", "lower", note)
    return table, figures
