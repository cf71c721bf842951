"""What processes use, seen from outside: /proc, and INFO of Redis."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.fleet.herd import Herd
from bench.fleet.stage import Stage

TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Mark:
    """Seconds of CPU up to a moment. `commands`: that Redis has performed, also those inside scripts."""

    at: float
    coordinator_s: float
    redis_s: float
    drivers_s: float
    machine_s: float
    commands: int


@dataclass(frozen=True, slots=True)
class Spent:
    """Between two marks. `others_s`: of what else ran on this machine."""

    seconds: float
    coordinator_s: float
    redis_s: float
    drivers_s: float
    others_s: float
    commands: int

    @property
    def others(self) -> float:
        """How many cores other work used."""
        return self.others_s / self.seconds


def mark(stage: Stage, herd: Herd | None = None) -> Mark:
    drivers = [*(herd.pids if herd else ()), os.getpid()]
    return Mark(
        time.monotonic(),
        cpu_s(stage.pid),
        cpu_s(stage.redis_pid),
        sum(map(cpu_s, drivers)),
        machine_cpu_s(),
        commands(stage),
    )


def spent(since: Mark, until: Mark) -> Spent:
    coordinator_s = until.coordinator_s - since.coordinator_s
    redis_s, drivers_s = until.redis_s - since.redis_s, until.drivers_s - since.drivers_s
    others_s = until.machine_s - since.machine_s - coordinator_s - redis_s - drivers_s
    return Spent(until.at - since.at, coordinator_s, redis_s, drivers_s, max(0.0, others_s), until.commands - since.commands)


def cpu_s(pid: int) -> float:
    """User and system, of the process itself."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


def ended_cpu_s() -> float:
    """Of our processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def machine_cpu_s() -> float:
    """All that is not idle, of all cores."""
    user, nice, system, _, _, irq, softirq, steal, *_ = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:])
    return (user + nice + system + irq + softirq + steal) * TICK_S


def pss_kb(pid: int) -> float:
    """Resident memory, with its share of what it has in common with others; kB of 1,000 bytes."""
    return _memory(pid)["Pss"]


def rss_kb(pid: int) -> float:
    """Resident memory with all that it has in common with others, so that these do not change it; kB of 1,000 bytes."""
    return _memory(pid)["Rss"]


def own_kb(pid: int) -> float:
    """What it allocated, without files, of which the kernel drops pages and reads them again; kB of 1,000 bytes."""
    found = _memory(pid)
    return found["Anonymous"] + found["Swap"]


def _memory(pid: int) -> dict[str, float]:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {name: int(value.split()[0]) * 1.024 for name, _, value in (line.partition(":") for line in lines)}


def commands(stage: Stage) -> int:
    with stage.redis() as client:
        return sum(int(each["calls"]) for each in client.info("commandstats").values())


def redis_mb(stage: Stage) -> float:
    with stage.redis() as client:
        return float(client.info("memory")["used_memory"]) / 1e6


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Of the straight line nearest to the points."""
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sum((a - mean_x) ** 2 for a in x)
