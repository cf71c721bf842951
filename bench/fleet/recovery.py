"""kill -9 of the coordinator below all its sessions, and what is lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from bench.fleet.driver import REQUESTS
from bench.fleet.rows import Row, cells, note_of, suffix, tell
from bench.fleet.session_load import CONNECT_S, TELEMETRY_S, Scene, connected, enrolled_herd
from bench.fleet.stage import MODEL, Given
from bench.fleet.usage import cpu_s, machine_cpu_s, pss_kb
from bench.report import Figure, Table
from littoral_cloud.fleet.records import load
from littoral_cloud.fleet.telemetry import KIND, TelemetryTotals, telemetry_id

ABOUT = "kill -9 of the coordinator, and its start 2 s later"
EXAMPLE = "python -m bench.fleet recovery --nodes 500"
NODES = (100, 500, 2_000)
DOWN_S = 2.0
BEFORE_S = 25.0
ACKNOWLEDGED_S = 180.0

COLUMNS = (
    *("nodes", "recovery_s", "ready_s", "after_ready_s", "cpu_s", "sessions", "lost_streams", "sent_away", "peak_kb"),
    *("reports", "not_counted", "load", "commit"),
)


async def measured(given: Given) -> Row:
    async with enrolled_herd("recovery", given) as scene:
        stage, herd = scene.stage, scene.herd
        await connected(scene)
        await herd.ask(do="telemetry", every_s=TELEMETRY_S)
        await asyncio.sleep(BEFORE_S if given.seconds is None else given.seconds)
        counts, machine, drivers = await herd.counts(), machine_cpu_s(), sum(map(cpu_s, herd.pids))
        killed = time.monotonic()
        await stage.kill()
        await asyncio.sleep(DOWN_S)
        await stage.start()
        ready = time.monotonic()
        tell(f"  killed, and ready again after {ready - killed:.1f} s")
        now = await herd.all_connected(CONNECT_S)
        back = now["last_welcome_at"]
        own_s = cpu_s(stage.pid) + cpu_s(stage.redis_pid)
        others_s = machine_cpu_s() - machine - own_s - (sum(map(cpu_s, herd.pids)) - drivers)
        tell(f"  {now['connected']} of {given.nodes} are back {back - killed:.1f} s after the kill")
        peak = pss_kb(stage.pid)
        await asyncio.sleep(TELEMETRY_S)
        await herd.ask(do="telemetry", every_s=0)
        await herd.all_acknowledged(ACKNOWLEDGED_S)
        reports, missing = await _uncounted(scene)
        tell(f"  {missing} of {reports} acknowledged reports were not counted")
        everyone = now["connected"] >= given.nodes
        return {
            "recovery_s": round(back - killed, 1) if everyone else CONNECT_S,
            "ready_s": round(ready - killed, 1),
            "after_ready_s": round(back - ready, 1) if everyone else CONNECT_S,
            "cpu_s": round(cpu_s(stage.pid), 1),
            "sessions": int(now["welcomed"] - counts["welcomed"]),
            "lost_streams": int(now["lost"] - counts["lost"]),
            "sent_away": int(now["refused"] - counts["refused"]),
            "peak_kb": round(peak),
            "reports": reports,
            "not_counted": missing,
            "load": round(max(0.0, others_s) / (time.monotonic() - killed), 2),
        }


async def _uncounted(scene: Scene) -> tuple[int, int]:
    """(acknowledged reports, those of them that the totals do not hold, or hold twice)."""
    listed = await scene.herd.listed()
    async with scene.stage.core() as core:
        totals = {doc.id: load(TelemetryTotals, doc) for doc in await core.ledger.all(KIND)}
    wrong = 0
    for node_id, boot, acknowledged, *_ in listed:
        found = totals.get(telemetry_id(node_id, MODEL))
        last = found.boots.get(boot, 0) if found else 0
        requests = found.totals.requests if found else 0
        wrong += max(0, acknowledged - last) + abs(requests // REQUESTS - last)
    return sum(node[2] for node in listed), wrong


def made(rows: Mapping[int, Row]) -> tuple[Table, dict[str, Figure]]:
    table = Table(
        "kill -9 of the coordinator",
        COLUMNS,
        cells(rows, COLUMNS),
        (
            f"Killed with its embedded Redis while all nodes send telemetry, started again {DOWN_S:g} s later. `recovery_s`: "
            "from the kill to the last node's Welcome; `ready_s`: from the kill until the new process answers; `cpu_s`: of the "
            "new process.",
            "`not_counted`: acknowledged reports that the totals in the ledger do not hold, or hold twice.",
        ),
    )
    figures: dict[str, Figure] = {}
    for nodes, row in rows.items():
        at = suffix(nodes, NODES)
        figures[f"recovery_s{at}"] = Figure.of(row["recovery_s"], "s", "lower", note_of(row, "from the kill, 2 s of them down"))
        figures[f"reports_lost{at}"] = Figure.of(row["not_counted"], "reports", "lower", note_of(row, f"of {row['reports']:,}"))
    return table, figures
