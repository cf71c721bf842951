"""What the parts with sessions have in common: a coordinator, a herd that has enrolled, and everybody connected."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from bench.fleet.herd import Herd, herd_of
from bench.fleet.rows import tell
from bench.fleet.stage import MODEL, Given, Stage, join_line, staged
from bench.fleet.usage import Spent, mark, pss_kb, spent

CONNECT_S = 300.0
TELEMETRY_S = 10.0
SETTLE_S = 3.0


@dataclass(frozen=True, slots=True)
class Scene:
    stage: Stage
    others: tuple[Stage, ...]  # further coordinators of its fleet
    herd: Herd
    enrol_s: float
    empty_kb: float
    """Of the coordinator, before the first session."""


@asynccontextmanager
async def enrolled_herd(part: str, given: Given, coordinators: int = 1) -> AsyncIterator[Scene]:
    """Each coordinator has an equal share of the nodes."""
    nodes = given.nodes
    async with (
        staged(part, given) as stage,
        AsyncExitStack() as stack,
        herd_of(nodes, stage.root / "drivers.log", coordinators) as herd,
    ):
        await stage.start()
        others = tuple([await stack.enter_async_context(stage.another(n)) for n in range(2, coordinators + 1)])
        tell(f"{part}, {nodes} nodes: the coordinator is process {stage.pid}; logs in {stage.root}")
        await asyncio.sleep(SETTLE_S if given.seconds is None else min(SETTLE_S, given.seconds))
        empty_kb = pss_kb(stage.pid)
        lines = [await join_line(each, nodes) for each in (stage, *others)]
        seconds = await herd.enrol(lines, MODEL, stage.release.digests[0])
        tell(f"  enrolled in {seconds:.1f} s")
        yield Scene(stage, others, herd, seconds, empty_kb)


@dataclass(frozen=True, slots=True)
class Arrival:
    """Of the whole herd. `seconds`: until the last one had its Welcome."""

    seconds: float
    spent: Spent
    connected: int
    sessions: int  # that were opened for it
    lost: int
    refused: int


async def connected(scene: Scene) -> Arrival:
    """Every node connects at the same moment."""
    before = mark(scene.stage, scene.herd)
    began = time.monotonic()
    await scene.herd.ask(do="connect")
    counts = await scene.herd.all_connected(CONNECT_S)
    seconds = counts["last_welcome_at"] - began
    found = Arrival(
        seconds,
        spent(before, mark(scene.stage, scene.herd)),
        int(counts["connected"]),
        int(counts["welcomed"]),
        int(counts["lost"]),
        int(counts["refused"]),
    )
    tell(f"  {found.connected} connected after {found.seconds:.1f} s: {found.lost} streams lost, {found.refused} sent away")
    if found.connected < scene.herd.nodes:
        raise RuntimeError(f"{scene.herd.nodes - found.connected} nodes have no session after {CONNECT_S:.0f} s")
    return found
