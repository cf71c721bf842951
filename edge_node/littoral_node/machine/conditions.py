"""The machine's changing state: power, heat, and whether its network is metered. hardware.py has what stays the same.

`read` reads the kernel's files below a root; a file that a machine lacks is no error. `step` decides which conditions hold. A
condition ends at another threshold than it begins, and after a wait, so that a loose plug does not change models back and forth.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

NAMES = ("battery_low", "on_battery", "hot", "metered")
"""Conditions that settings may give a budget for."""

BATTERY_GAP = 5.0  # points above the threshold at which a battery is not low any more
HEAT_GAP = 5.0  # degrees below it at which a machine is not hot any more
STEADY_S = 5.0
"""A condition ends when it has been gone for this long. It begins at once."""

_SUPPLIES = "sys/class/power_supply"
_MAINS = ("Mains", "USB", "Wireless")
_TRIPS = ("passive", "hot", "critical")
_CPU_COOLING = ("processor", "cpu", "cpufreq", "thermal-cpu")


@dataclass(frozen=True, slots=True)
class Reading:
    """None: not known."""

    on_mains: bool | None = None
    battery_percent: float | None = None  # of all batteries together, 0 to 100
    celsius: float | None = None  # of the hottest zone
    over_trip: float | None = None  # degrees above the nearest trip point of the kernel's; negative: below
    throttled: bool = False  # the kernel throttles the processor now
    throttles: int = 0  # how often the processor was throttled since it was switched on
    metered: bool | None = None


@dataclass(frozen=True, slots=True)
class Thresholds:
    """`hot_at`: degrees Celsius; None: the kernel's own trip points."""

    battery_low: float = 20.0
    hot_at: float | None = None


@dataclass(frozen=True, slots=True)
class ConditionsInForce:
    """What holds now. `ending`: since when a condition that holds is gone; seconds of the caller's clock."""

    in_force: frozenset[str] = frozenset()
    ending: Mapping[str, float] = field(default_factory=dict)
    throttles: int | None = None

    def next_end(self) -> float:
        """When the next condition ends unless it comes back; infinite where none does."""
        return min((since + STEADY_S for since in self.ending.values()), default=math.inf)


def step(before: ConditionsInForce, reading: Reading, thresholds: Thresholds, now: float) -> ConditionsInForce:
    """What holds after a reading."""
    in_force, ending = set(), {}
    for name in NAMES:
        was = name in before.in_force
        if _holds(name, was, before, reading, thresholds):
            in_force.add(name)
        elif was:
            since = before.ending.get(name, now)
            if now - since < STEADY_S:
                in_force.add(name)
                ending[name] = since
    return ConditionsInForce(frozenset(in_force), ending, reading.throttles)


def is_hot(reading: Reading, thresholds: Thresholds, gap: float = 0.0) -> bool | None:
    """`gap`: degrees below the bound that still count as hot. None: not known."""
    if thresholds.hot_at is not None:
        return None if reading.celsius is None else reading.celsius > thresholds.hot_at - gap
    if reading.throttled:
        return True
    return None if reading.over_trip is None else reading.over_trip > -gap


def _holds(name: str, was: bool, before: ConditionsInForce, reading: Reading, thresholds: Thresholds) -> bool:
    match name:
        case "battery_low":
            percent, bound = reading.battery_percent, thresholds.battery_low + (BATTERY_GAP if was else 0.0)
            return reading.on_mains is not True and percent is not None and percent < bound
        case "on_battery":
            return reading.on_mains is False
        case "hot":
            again = before.throttles is not None and reading.throttles > before.throttles and thresholds.hot_at is None
            return again or is_hot(reading, thresholds, HEAT_GAP if was else 0.0) is True
    return reading.metered is True


def read(root: Path, metered: bool | None = None) -> Reading:
    """How the machine whose files lie below `root` stands now.

    Args:
        metered: whether the network is metered; None: read `root`/run/littoral/metered, where that file exists.
    """
    on_mains, percent = power(root)
    celsius, over = heat(root)
    return Reading(
        on_mains=on_mains,
        battery_percent=percent,
        celsius=celsius,
        over_trip=over,
        throttled=throttled(root),
        throttles=_throttles(root),
        metered=metered if metered is not None else yes_or_no(text(root / "run/littoral/metered")),
    )


def power(root: Path) -> tuple[bool | None, float | None]:
    """(on mains, percent of all batteries), of /sys/class/power_supply. Batteries of a mouse or a pen do not count."""
    supplies, found = entries(root / _SUPPLIES), batteries(root)
    plugs = [text(supply / "online") not in ("", "0") for supply in supplies if text(supply / "type") in _MAINS]
    return _on_mains(plugs, [text(battery / "status") for battery in found]), _percent(found)


def batteries(root: Path) -> list[Path]:
    """Those that this machine itself runs on."""
    supplies = entries(root / _SUPPLIES)
    return [s for s in supplies if text(s / "type") == "Battery" and text(s / "scope") != "Device" and text(s / "present") != "0"]


def _on_mains(plugs: list[bool], statuses: list[str]) -> bool | None:
    if any(plugs) or "Charging" in statuses:
        return True
    if plugs or "Discharging" in statuses:
        return False if statuses else None  # a plug without power on a machine that runs without a battery is not its own
    return True if any(status in ("Full", "Not charging") for status in statuses) else None


def _percent(batteries: list[Path]) -> float | None:
    """Weighted by capacity, where every battery gives it; else their mean."""
    stored = [_stored(battery) for battery in batteries]
    whole = [pair for pair in stored if pair is not None]
    if whole and len(whole) == len(batteries):
        return min(100.0, 100.0 * sum(now for now, _ in whole) / sum(full for _, full in whole))
    percents = [value for battery in batteries if (value := number(text(battery / "capacity"))) is not None and 0 <= value <= 100]
    percents += [min(100.0, 100.0 * now / full) for now, full in whole] if not percents else []
    return sum(percents) / len(percents) if percents else None


def _stored(battery: Path) -> tuple[float, float] | None:
    for name in ("energy", "charge"):
        now, full = number(text(battery / f"{name}_now")), number(text(battery / f"{name}_full"))
        if now is not None and full is not None and full > 0 and now >= 0:
            return now, full
    return None


def heat(root: Path) -> tuple[float | None, float | None]:
    """(degrees of the hottest zone, degrees over the nearest trip point), of /sys/class/thermal."""
    temperatures, over = [], []
    for zone in _folders(root / "sys/class/thermal", "thermal_zone"):
        millis = number(text(zone / "temp"))
        if millis is None or not -50_000 < millis < 250_000:  # a missing sensor gives absurd values
            continue
        temperatures.append(millis / 1_000)
        for trip in _files(zone, "trip_point_", "_type"):
            bound = number(text(trip.with_name(trip.name.removesuffix("_type") + "_temp")))
            if text(trip) in _TRIPS and bound is not None and 20_000 < bound < 250_000:
                over.append((millis - bound) / 1_000)
    return max(temperatures, default=None), max(over, default=None)


def throttled(root: Path) -> bool:
    """Whether a cooling device holds the processor back now."""
    for device in _folders(root / "sys/class/thermal", "cooling_device"):
        if text(device / "type").lower().startswith(_CPU_COOLING) and (number(text(device / "cur_state")) or 0) > 0:
            return True
    return False


def _throttles(root: Path) -> int:
    counts = (
        number(text(count))
        for cpu in _folders(root / "sys/devices/system/cpu", "cpu")
        for count in _files(cpu / "thermal_throttle", "", "_throttle_count")
    )
    return int(sum(count for count in counts if count is not None and count >= 0))


def yes_or_no(words: str) -> bool | None:
    """Of "yes", "no (guessed)", "1"; None for anything else."""
    word = words.split()[0].lower() if words.split() else ""
    return {"yes": True, "1": True, "true": True, "no": False, "0": False, "false": False}.get(word)


def number(digits: str) -> float | None:
    """None where it is no finite number."""
    try:
        value = float(digits)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def text(path: Path) -> str:
    """A file's text without the white space around it; empty where it cannot be read, or holds more than a page."""
    try:
        with path.open("rb") as file:
            return file.read(4096).decode(errors="replace").strip().replace("\0", "")
    except (OSError, ValueError):
        return ""


def _folders(place: Path, prefix: str = "") -> Iterator[Path]:
    yield from (entry for entry in entries(place) if entry.name.startswith(prefix))


def _files(place: Path, prefix: str, suffix: str) -> Iterator[Path]:
    yield from (entry for entry in entries(place) if entry.name.startswith(prefix) and entry.name.endswith(suffix))


def entries(place: Path) -> list[Path]:
    """Of a folder, by name; none where it cannot be read."""
    try:
        return sorted(place.iterdir())
    except OSError:
        return []
