"""The faults, one function a kind: each breaks something, and puts back what an operator's supervisor or network would.

Each gives what it did, in words. What it draws, it draws from the generator that it is given.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from bench.chaos.servers import OneServer, SentinelServers
from bench.chaos.stage import ChaosNode, ChaosStage

WORKER_S = 20.0
"""So long a fault waits for a training worker to be there; then it kills a node instead."""
CUT_S = 5.0
LEASE_S = 10.0
MOST_MOVED_S = 45.0
FILL = 1 << 20

ChaosFault = Callable[[ChaosStage, random.Random], Awaitable[str]]


async def kill_node(stage: ChaosStage, rng: random.Random) -> str:
    node, pause_s = _node(stage, rng), stage.pace * rng.uniform(0.0, 2.0)
    assert node.child is not None
    os.kill(node.child.pid, signal.SIGKILL)
    await node.child.ended()
    await node.child.end()
    node.sure = node.counted  # what it had not handed over is lost with its memory
    await asyncio.sleep(pause_s)
    await stage.start_node(node)
    return f"kill -9 of {node.name}, back after {pause_s:.1f} s"


async def kill_coordinator(stage: ChaosStage, rng: random.Random) -> str:
    number, pause_s = rng.randrange(len(stage.coordinators)), stage.pace * rng.uniform(0.0, 2.0)
    child = stage.coordinators[number]
    assert child is not None
    os.kill(child.pid, signal.SIGKILL)
    await child.ended()
    await child.end()
    await asyncio.sleep(pause_s)
    await stage.start_coordinator(number)
    return f"kill -9 of {child.name}, back after {pause_s:.1f} s"


async def kill_redis(stage: ChaosStage, rng: random.Random) -> str:
    pause_s = stage.pace * rng.uniform(0.0, 2.0)
    redis = _one(stage)
    await redis.kill()
    await asyncio.sleep(pause_s)
    await redis.start()
    return f"kill -9 of Redis, back after {pause_s:.1f} s"


async def kill_worker(stage: ChaosStage, rng: random.Random) -> str:
    deadline = time.monotonic() + WORKER_S
    while time.monotonic() < deadline:
        for node in stage.nodes.values():
            for pid in descendants(node.child.pid if node.child else 0):
                if "littoral_node.federation.worker" in command_of(pid):
                    os.kill(pid, signal.SIGKILL)
                    return f"kill -9 of the training worker of {node.name}"
        await asyncio.sleep(0.05)
    return f"no training worker came; {await kill_node(stage, rng)}"


async def fail_over(stage: ChaosStage, rng: random.Random) -> str:
    assert isinstance(stage.redis, SentinelServers)
    for node in stage.nodes.values():
        node.sure = min(node.sure, node.counted)  # see docs/survive.md: telemetry may lose its last second
    await stage.redis.fail_over()
    for node in stage.nodes.values():
        node.counted = 0
    return "kill -9 of the primary: another one was chosen"


async def cut_redis(stage: ChaosStage, rng: random.Random) -> str:
    return f"{await _one(stage).proxy.cut(rng, stage.pace * CUT_S)} connections to Redis cut, each at a random byte"


async def slow_redis(stage: ChaosStage, rng: random.Random) -> str:
    proxy, seconds = _one(stage).proxy, stage.pace * rng.uniform(2.0, 5.0)
    proxy.delay_s = 0.1
    await asyncio.sleep(seconds)
    proxy.delay_s = 0.0
    return f"Redis 100 ms further away in each direction, for {seconds:.1f} s"


async def cut_nodes(stage: ChaosStage, rng: random.Random) -> str:
    return f"{await stage.door.cut(rng, stage.pace * CUT_S)} connections of nodes cut, each at a random byte"


async def stop_coordinator(stage: ChaosStage, rng: random.Random) -> str:
    number, seconds = rng.randrange(len(stage.coordinators)), LEASE_S + rng.uniform(1.0, 3.0)
    child = stage.coordinators[number]
    assert child is not None
    os.kill(child.pid, signal.SIGSTOP)
    await asyncio.sleep(seconds)
    os.kill(child.pid, signal.SIGCONT)
    return f"{child.name} stopped for {seconds:.1f} s, then woken: its leases are over"


async def fill_disk(stage: ChaosStage, rng: random.Random) -> str:
    disk, seconds = rng.choice(stage.disks), stage.pace * rng.uniform(1.0, 4.0)
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (FILL, 4096, 1):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError:  # full: now with smaller pieces
                continue
    await asyncio.sleep(seconds)
    filler.unlink()
    return f"the disk of {disk.name} full for {seconds:.1f} s"


async def move_clock(stage: ChaosStage, rng: random.Random) -> str:
    """Of one process; it stays moved until the next move of the same one, or its end."""
    children = [*filter(None, (*stage.coordinators, *(node.child for node in stage.nodes.values())))]
    child, by_s = rng.choice(children), rng.uniform(-MOST_MOVED_S, MOST_MOVED_S)
    _tell(stage, child.name, child.pid, clock_s=by_s)
    return f"the clock of {child.name} moved to {by_s:+.0f} s"


async def repeat_messages(stage: ChaosStage, rng: random.Random) -> str:
    node, seconds = _node(stage, rng), stage.pace * rng.uniform(2.0, 5.0)
    assert node.child is not None
    _tell(stage, node.name, node.child.pid, repeats=True)
    await asyncio.sleep(seconds)
    _tell(stage, node.name, node.child.pid)
    return f"{node.name} said everything twice, and old things after newer ones, for {seconds:.1f} s"


FAULTS: dict[str, ChaosFault] = {
    "node": kill_node,
    "coordinator": kill_coordinator,
    "redis": kill_redis,
    "worker": kill_worker,
    "redis-cut": cut_redis,
    "redis-slow": slow_redis,
    "node-cut": cut_nodes,
    "stopped": stop_coordinator,
    "disk": fill_disk,
    "clock": move_clock,
    "repeated": repeat_messages,
    "failover": fail_over,
}
ONE_SERVER = ("redis", "redis-cut", "redis-slow")
"""Kinds that need the one Redis behind a proxy; "failover" needs the three."""


def kinds_for(*, sentinels: bool, disks: bool) -> tuple[str, ...]:
    out = {"failover"} if not sentinels else set(ONE_SERVER)
    return tuple(kind for kind in FAULTS if kind not in out and (disks or kind != "disk"))


def drawn(seed: int, number: int, kinds: Sequence[str]) -> tuple[str, random.Random]:
    """The kind of fault `number` (from 1), and what it draws from: each kind once in every len(kinds) faults."""
    turn, place = divmod(number - 1, len(kinds))
    order = random.Random(f"{seed}:{turn}").sample(list(kinds), len(kinds))
    return order[place], random.Random(f"{seed}:{number}:{order[place]}")


def _one(stage: ChaosStage) -> OneServer:
    assert isinstance(stage.redis, OneServer)
    return stage.redis


def _node(stage: ChaosStage, rng: random.Random) -> ChaosNode:
    return stage.nodes[rng.choice(sorted(stage.nodes))]


def _tell(stage: ChaosStage, name: str, pid: int, *, clock_s: float = 0.0, repeats: bool = False) -> None:
    stage.bend(name, clock_s=clock_s, repeats=repeats)
    os.kill(pid, signal.SIGUSR2)


def descendants(pid: int) -> list[int]:
    found: list[int] = []
    for place in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(child) for child in place.read_text().split()]
        except OSError:  # the thread has ended
            continue
        found += [each for child in children for each in (child, *descendants(child))]
    return found


def command_of(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:  # it has ended
        return []
