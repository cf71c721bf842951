"""One commit that changes the desired state of every node: how long until the nodes have it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from statistics import median
from typing import Any

import numpy as np

from bench.fleet.rows import Row, cells, note_of, suffix, tell
from bench.fleet.session_load import TELEMETRY_S, Scene, connected, enrolled_herd
from bench.fleet.stage import MODEL, Given
from bench.fleet.usage import mark, spent
from bench.report import Figure, Table
from littoral_cloud.fleet.ledger import Change, Write
from littoral_cloud.fleet.records import Desired, DesiredModel, Probation, dump, load

ABOUT = "a commit that changes every node's desired state"
EXAMPLE = "python -m bench.fleet fanout --nodes 500"
NODES = (100, 500, 2_000)
TIMES = 5
ARRIVE_S = 120.0
LOOK_S = 0.5
"""Between two looks: the nodes note when theirs came, and to ask them costs them time."""
APART_S = 10.0
"""Between two commits: nodes report what they make of the one before."""

COLUMNS = ("nodes", "commit_s", "p50_s", "p99_s", "last_s", "cpu_s", "missing", "load", "commit")


async def measured(given: Given) -> Row:
    async with enrolled_herd("fanout", given) as scene:
        await connected(scene)
        await scene.herd.ask(do="telemetry", every_s=TELEMETRY_S)
        await asyncio.sleep(APART_S)
        before = mark(scene.stage, scene.herd)
        found = []
        for turn in range(TIMES if given.seconds is None else 2):
            found.append(await _once(scene, turn))
            tell("  " + ", ".join(f"{name} {value:.3f}" for name, value in found[-1].items()))
            await asyncio.sleep(APART_S if given.seconds is None else given.seconds)
        whole = spent(before, mark(scene.stage, scene.herd))
        samples = {name: [round(each[name], 4) for each in found] for name in found[0]}
        middle = {name: round(median(values), 3) for name, values in samples.items()}
        return {
            **middle,
            "samples": samples,
            "cpu_s": round(whole.coordinator_s / len(found), 2),
            "load": round(whole.others, 2),
        }


async def _once(scene: Scene, turn: int) -> dict[str, float]:
    """From before the commit to each node's session."""
    digests = scene.stage.release.digests
    async with scene.stage.core() as core:
        wanted = []
        for doc in await core.ledger.all("desired"):
            desired = load(Desired, doc)
            model = DesiredModel(
                manifest_digest=digests[turn % len(digests)],
                rollout_id="bench-fanout",
                generation=desired.next_generation_of(MODEL),
                probation=Probation(duration_s=1.0),
            )
            wanted.append(Write("desired", doc.id, dump(desired.with_model(MODEL, model)), doc.generation))
        began = time.monotonic()
        committed = await core.ledger.commit(Change(tuple(wanted)))
        commit_s = time.monotonic() - began
    arrived: list[float] = []
    until = time.monotonic() + ARRIVE_S
    while len(arrived) < scene.herd.nodes and time.monotonic() < until:
        await asyncio.sleep(LOOK_S)
        arrived = [at - began for id, _, _, seen, at in await scene.herd.listed() if seen >= _generation(committed, id)]
    p50, p99 = (float(np.percentile(arrived, q)) if arrived else ARRIVE_S for q in (50, 99))
    missing = scene.herd.nodes - len(arrived)
    return {
        "commit_s": commit_s,
        "p50_s": p50,
        "p99_s": ARRIVE_S if missing > scene.herd.nodes / 100 else p99,
        "last_s": ARRIVE_S if missing else max(arrived),
        "missing": missing,
    }


def _generation(committed: Mapping[tuple[str, str], int], node_id: str) -> Any:
    return committed["desired", node_id]


def made(rows: Mapping[int, Row]) -> tuple[Table, dict[str, Figure]]:
    table = Table(
        "From one commit to every node's desired state",
        COLUMNS,
        cells(rows, COLUMNS),
        (
            f"Median of {TIMES} commits, each of which gives every node another artifact; from before the commit to the moment "
            "when the node's own session hands it on. Telemetry goes on, and nodes report the steps of the update before.",
            f"`missing`: nodes that did not have it after {ARRIVE_S:.0f} s.",
        ),
    )
    figures: dict[str, Figure] = {}
    for nodes, row in rows.items():
        at = suffix(nodes, NODES)
        for name in ("p50_s", "p99_s"):
            figures[f"fanout_{name}{at}"] = Figure(tuple(row["samples"][name]), "s", "lower", note_of(row))
    return table, figures
