"""Sessions that do nothing but live: heartbeats, and telemetry each 10 s; and before that all of them connecting."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from statistics import median

from bench.fleet.rows import Row, cells, note_of, suffix, tell
from bench.fleet.session_load import TELEMETRY_S, connected, enrolled_herd
from bench.fleet.stage import Given
from bench.fleet.usage import mark, pss_kb, redis_mb, spent
from bench.report import Figure, Table

ABOUT = "heartbeats, and telemetry each 10 s"
EXAMPLE = "python -m bench.fleet steady --nodes 500"
NODES = (100, 500, 2_000)
WARM_S = 60.0
"""Until baselines of drift are full."""
MEASURED_S = 60.0
WINDOW_S = 10.0

COLUMNS = (
    *("nodes", "herd_s", "herd_cpu_s", "sessions", "cpu_share", "redis_share", "ms_a_report", "reports_a_s", "unacknowledged"),
    *("kb_per_node", "redis_mb", "commands_a_s", "reads_a_report", "drivers_share", "load", "commit"),
)


async def measured(given: Given) -> Row:
    nodes, seconds = given.nodes, given.seconds or MEASURED_S
    async with enrolled_herd("steady", given) as scene:
        stage, herd = scene.stage, scene.herd
        arrival = await connected(scene)
        await herd.ask(do="telemetry", every_s=min(TELEMETRY_S, seconds / 4))
        await asyncio.sleep(WARM_S if given.seconds is None else min(WARM_S, seconds))
        first, counts, said = mark(stage, herd), await herd.counts(), await stage.counts()
        shares, before = [], first
        for _ in range(max(1, round(seconds / WINDOW_S))):
            await asyncio.sleep(min(WINDOW_S, seconds))
            after = mark(stage, herd)
            window = spent(before, after)
            shares.append(round(window.coordinator_s / window.seconds, 4))
            tell(f"  coordinator {shares[-1]:.2f} of a core, others {window.others:.2f}")
            before = after
        now, read = await herd.counts(), await stage.counts()
        whole = spent(first, before)
        reports = now["cut"] - counts["cut"]
        return {
            "herd_s": round(arrival.seconds, 1),
            "herd_cpu_s": round(arrival.spent.coordinator_s, 1),
            "sessions": arrival.sessions,
            "shares": shares,
            "cpu_share": round(median(shares), 4),
            "redis_share": round(whole.redis_s / whole.seconds, 3),
            "ms_a_report": round(1e3 * whole.coordinator_s / reports, 2) if reports else None,
            "reports_a_s": round(reports / whole.seconds, 1),
            "unacknowledged": int(now["cut"] - now["acknowledged"]),
            "connected": int(now["connected"]),
            "kb_per_node": round((pss_kb(stage.pid) - scene.empty_kb) / nodes, 1),
            "redis_mb": round(redis_mb(stage), 1),
            "commands_a_s": round(whole.commands / whole.seconds),
            "reads_a_report": round((read["documents_read"] - said["documents_read"]) / reports, 2) if reports else None,
            "drivers_share": round(whole.drivers_s / whole.seconds, 3),
            "load": round(whole.others, 2),
        }


def made(rows: Mapping[int, Row]) -> tuple[Table, dict[str, Figure]]:
    table = Table(
        "Sessions in steady state",
        COLUMNS,
        cells(rows, COLUMNS),
        (
            "All nodes connect at one moment (`herd_s` until the last Welcome, `sessions` opened for it), then heartbeats each "
            "10 s and telemetry each 10 s with a sketch of 18 x 16; reports are acknowledged when they are stored. The "
            "agent's own session code, mutual TLS, a connection each.",
            "Shares are of one core: of the coordinator's process, of its Redis, of the processes that hold the nodes. `load`: "
            "cores that other work on the machine used. `kb_per_node`: the coordinator's resident memory above that before the "
            "herd.",
        ),
    )
    figures: dict[str, Figure] = {}
    for nodes, row in rows.items():
        at = suffix(nodes, NODES)
        share = note_of(row, "median of windows of 10 s; its Redis stands in the table")
        figures[f"coordinator_cpu_share{at}"] = Figure(tuple(row["shares"]), "of one core", "lower", share)
        figures[f"coordinator_kb_per_node{at}"] = Figure.of(row["kb_per_node"], "kB", "lower", note_of(row))
        figures[f"herd_s{at}"] = Figure.of(
            row["herd_s"], "s", "lower", note_of(row, "all connect at one moment, to the last Welcome")
        )
    return table, figures
