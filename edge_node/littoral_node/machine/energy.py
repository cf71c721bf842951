"""What one inference costs in energy: counted by the processor (RAPL) or by the battery where that can be read, else estimated.

A counter measures the whole package, or the whole machine, while inferences run one after another: it includes other work, so the
figure is never too low. An estimate is processor time times a stated power; no budget is compared with it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from littoral.budget import ESTIMATE
from littoral_node.machine.conditions import batteries, entries, number, text

WATTS_OF_A_CORE = {"x86_64": 10.0, "aarch64": 2.0, "armv7l": 1.0, "riscv64": 1.0}
"""Of one busy core, for an estimate: the middle of what desktop and server cores, or boards such as a Raspberry Pi, take."""

_OTHER_WATTS = 5.0
_RAPL_S, _BATTERY_S, _ESTIMATE_S = 0.25, 2.0, 0.1
"""How long inferences run: a RAPL counter moves every millisecond, a battery's gauge every second or slower."""


@dataclass(frozen=True, slots=True)
class Counter:
    """`why`: why it cannot be read, and what to do; empty: it can be read."""

    name: str
    why: str = ""

    @property
    def readable(self) -> bool:
        return not self.why


@dataclass(frozen=True, slots=True)
class EnergySpent:
    """Of one inference. `millijoules` None and `source` empty: nothing is known."""

    millijoules: float | None = None
    source: str = ""


def counters(root: Path) -> tuple[Counter, ...]:
    """Everything below `root` that counts energy, readable or not."""
    found = []
    for zone in _packages(root):
        place = zone / "energy_uj"
        why = "" if number(text(place)) is not None else f"/{place.relative_to(root)} is readable by root alone: see docs/fit.md"
        found.append(Counter(f"rapl:{text(zone / 'name') or zone.name}", why))
    for battery in batteries(root):
        why = "" if _watts(battery) is not None else "it says no power"
        found.append(Counter(f"battery:{battery.name}", why))
    return tuple(found)


def spent(
    once: Callable[[], object],
    root: Path,
    machine: str,
    *,
    clock: Callable[[], float] = time.perf_counter,
    processor: Callable[[], float] = time.process_time,
) -> EnergySpent:
    """Runs inferences for a while, and gives what one of them took.

    Args:
        machine: as `uname -m` says it.
        clock, processor: seconds; of the wall, and of this process on the processor.
    """
    packages = [zone for zone in _packages(root) if number(text(zone / "energy_uj")) is not None]
    if packages:
        before = [_microjoules(zone) for zone in packages]
        count, _, _ = _run(once, _RAPL_S, clock, processor)
        used = sum(
            between(b, _microjoules(zone), _microjoules(zone, "max_energy_range_uj"))
            for zone, b in zip(packages, before, strict=True)
        )
        if used > 0:
            return EnergySpent(used / 1_000 / count, "rapl")
    draining = [battery for battery in batteries(root) if text(battery / "status") == "Discharging"]
    if draining and all(_watts(battery) is not None for battery in draining):
        count, seconds, _ = _run(once, _BATTERY_S, clock, processor)
        watts = sum(_watts(battery) or 0.0 for battery in draining)
        if watts > 0:
            return EnergySpent(1_000 * watts * seconds / count, "battery")
    count, _, busy = _run(once, _ESTIMATE_S, clock, processor)
    return EnergySpent(1_000 * busy * WATTS_OF_A_CORE.get(machine, _OTHER_WATTS) / count, ESTIMATE)


def between(before: float, after: float, most: float) -> float:
    """Microjoules from one reading to the next; a counter begins again at 0 after `most`."""
    return after - before if after >= before else max(0.0, after - before + most)


def _run(
    once: Callable[[], object], seconds: float, clock: Callable[[], float], processor: Callable[[], float]
) -> tuple[int, float, float]:
    """(inferences, seconds, seconds on the processor)."""
    began, busy, count = clock(), processor(), 0
    while count == 0 or clock() - began < seconds:
        once()
        count += 1
    return count, clock() - began, processor() - busy


def _packages(root: Path) -> list[Path]:
    """RAPL's zones of whole packages: their parts are inside of them, and psys outside."""
    zones = [e for e in entries(root / "sys/class/powercap") if re.fullmatch(r"(intel|amd)-rapl:[0-9]+", e.name)]
    return [zone for zone in zones if text(zone / "name").startswith("package")]


def _microjoules(zone: Path, file: str = "energy_uj") -> float:
    return number(text(zone / file)) or 0.0


def _watts(battery: Path) -> float | None:
    """What it gives now; from current and voltage where it does not say power."""
    micro = number(text(battery / "power_now"))
    if micro is None:
        amperes, volts = number(text(battery / "current_now")), number(text(battery / "voltage_now"))
        micro = None if amperes is None or volts is None else amperes * volts / 1e6
    return None if micro is None else abs(micro) / 1e6  # some drivers count what leaves as negative
