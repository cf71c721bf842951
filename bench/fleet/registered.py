"""Many nodes that have enrolled and are not here: what a coordinator's start, a page of the list, a view and a plan cost then."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Mapping
from statistics import median
from typing import Any

from bench.fleet.population import populate
from bench.fleet.rows import Row, cells, note_of, tell
from bench.fleet.stage import Given, Stage, staged
from bench.fleet.usage import cpu_s, ended_cpu_s, machine_cpu_s, pss_kb, redis_mb
from bench.report import Figure, Table
from littoral.process.tether import tethered

ABOUT = "a coordinator's start, `node list`, a plan, with many nodes registered"
EXAMPLE = "python -m bench.fleet registered --nodes 10000"
NODES = (100_000,)
LISTED = 3
LIST_S = 180.0
LOOK_S = 300.0
LEAST_S = 60.0
"""Also for a quick look: Python starts, and a fleet is read."""
QUIET_SHARE = 0.1
SETTLE_S = 120.0

COLUMNS = (
    *("nodes", "written_s", "cold_s", "start_cpu_s", "start_mb", "redis_mb", "list", "list_s", "bare_command_s", "list_cut"),
    *("view_kb_per_node", "view_cpu_s", "plan_s", "plan_assigned", "cut_off", "load", "commit"),
)


async def measured(given: Given) -> Row:
    limit_s = LOOK_S if given.seconds is None else max(given.seconds, LEAST_S)
    async with staged("registered", given) as stage:
        began = time.monotonic()
        async with stage.core() as core:
            await populate(core.ledger, given.nodes, stage.release.digests, core.clock())
        written_s = time.monotonic() - began
        tell(f"  written in {written_s:.0f} s")
        machine, ended_s, at = machine_cpu_s(), ended_cpu_s(), time.monotonic()
        cold_s = await stage.start()
        start = {"cold_s": round(cold_s, 2), "start_cpu_s": await _settled(stage), "start_mb": round(pss_kb(stage.pid) / 1e3, 1)}
        tell(f"  the coordinator answers after {cold_s:.1f} s, and is quiet after {start['start_cpu_s']} s of CPU")
        listed = await _list(stage, min(limit_s, LIST_S))
        tell(f"  {listed}")
        looked = await _look(stage, limit_s)
        tell(f"  {looked}")
        ours = cpu_s(stage.pid) + cpu_s(stage.redis_pid) + ended_cpu_s() - ended_s
        return {
            "written_s": round(written_s, 1),
            **start,
            "redis_mb": round(redis_mb(stage), 1),
            **listed,
            **looked,
            "view_kb_per_node": round(looked["view_kb"] / given.nodes, 2) if looked["view_kb"] else None,
            "load": round(max(0.0, machine_cpu_s() - machine - ours) / (time.monotonic() - at), 2),
        }


async def _settled(stage: Stage) -> float:
    """Seconds of CPU until the coordinator has done what its start asked for."""
    until = time.monotonic() + SETTLE_S
    while time.monotonic() < until:
        before = cpu_s(stage.pid)
        await asyncio.sleep(2)
        if cpu_s(stage.pid) - before < 2 * QUIET_SHARE:
            break
    return round(cpu_s(stage.pid), 1)


async def _list(stage: Stage, limit_s: float) -> dict[str, Any]:
    """`littoral-cloud node list --limit 50`, or without a limit where the command has none yet; wall time of all of it."""
    help_text = await stage.cloud("node", "list", "--help")
    words = ("node", "list", "--limit", "50") if "--limit" in help_text else ("node", "list")
    bare, seconds, cut = [], [], False
    for _ in range(LISTED):
        began = time.monotonic()
        await stage.cloud("node", "list", "--help")
        bare.append(time.monotonic() - began)
    for _ in range(LISTED):
        began = time.monotonic()
        try:
            async with asyncio.timeout(limit_s):
                await stage.cloud(*words)
        except TimeoutError:
            cut = True
        seconds.append(round(time.monotonic() - began, 3))
        if seconds[-1] > 20:
            break
    return {
        "list": " ".join(words),
        "list_samples": seconds,
        "list_s": median(seconds),
        "list_cut": "stopped" if cut else "",
        "bare_command_s": round(median(bare), 2),
    }


async def _look(stage: Stage, limit_s: float) -> dict[str, Any]:
    """A process that holds the fleet as deciders do, and plans: see look.py."""
    pipe = asyncio.subprocess.PIPE
    command = tethered(sys.executable, "-m", "bench.fleet.look", str(stage.data), stage.release.id)
    found: dict[str, Any] = {}
    cut, began = "", time.monotonic()
    with (stage.root / "look.log").open("ab") as errors:
        process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=errors)
        assert process.stdout is not None
        try:
            async with asyncio.timeout(limit_s):
                while line := await process.stdout.readline():
                    found |= json.loads(line)
                    found["at"] = time.monotonic()
                await process.wait()
        except TimeoutError:
            cut = f"after {limit_s:.0f} s"
            process.kill()
            await process.wait()
    if not cut and process.returncode:
        cut = f"ended with {process.returncode}"
    waited_s = time.monotonic() - found.get("at", began)
    return {
        "view_kb": found.get("kb"),
        "view_cpu_s": round(found["cpu_s"], 1) if "cpu_s" in found else None,
        "plan_s": round(found["plan_s"], 3) if "plan_s" in found else None,
        "plan_at_least_s": round(waited_s, 1) if "kb" in found and "plan_s" not in found else None,
        "plan_assigned": found.get("assigned"),
        "cut_off": cut,
    }


def made(rows: Mapping[int, Row]) -> tuple[Table, dict[str, Figure]]:
    table = Table(
        "Registered nodes without a session",
        COLUMNS,
        cells(rows, COLUMNS),
        (
            "Documents of nodes that enrolled, took an artifact, sent telemetry and went a day ago; 4 classes of hardware, of "
            "each of which 3 nodes have measured each of 4 artifacts. `cold_s`: from the start of `littoral-cloud serve` and its "
            "Redis until it answers; `start_cpu_s`: of its process, until it is quiet.",
            "`list_s`: wall time of the command in column `list`, the start of Python among it (`bare_command_s`: its help "
            f"alone); stopped after {LIST_S:.0f} s. `view_kb_per_node`: of a process that holds the fleet as deciders "
            "do; `plan_s`: `make_plan` alone, for all nodes.",
        ),
    )
    figures: dict[str, Figure] = {}
    for nodes, row in rows.items():
        at = "100k" if nodes == max(NODES) else f"{nodes}"
        if row["plan_s"] is not None:
            figures[f"plan_{at}_s"] = Figure.of(row["plan_s"], "s", "lower", note_of(row))
        elif row["plan_at_least_s"] is not None:
            note = note_of(row, f"no plan: {row['cut_off']}; it takes longer than this")
            figures[f"plan_{at}_s"] = Figure.of(row["plan_at_least_s"], "s", "lower", note)
        said = f"`littoral-cloud {row['list']}`" + (", which was stopped" if row["list_cut"] else "")
        figures[f"list_page_{at}_s"] = Figure(tuple(row["list_samples"]), "s", "lower", note_of(row, said))
        figures[f"cold_start_{at}_s"] = Figure.of(row["cold_s"], "s", "lower", note_of(row))
        if row["view_kb_per_node"] is not None:
            name = "view_kb_per_node" if at == "100k" else f"view_kb_per_node_at_{nodes}"
            figures[name] = Figure.of(row["view_kb_per_node"], "kB", "lower", note_of(row))
    return table, figures
