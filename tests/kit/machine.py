"""A machine that is not there: its kernel's files below a folder, as Linux writes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Machine:
    root: Path

    def write(self, path: str, text: object) -> None:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        part = place.with_name(place.name + ".part")
        part.write_text(f"{text}\n")
        part.replace(place)  # a reader sees the old file or the new one

    def mains(self, online: bool, name: str = "AC", kind: str = "Mains") -> None:
        self.write(f"sys/class/power_supply/{name}/type", kind)
        self.write(f"sys/class/power_supply/{name}/online", int(online))

    def battery(self, percent: float, status: str = "Discharging", name: str = "BAT0", **files: object) -> None:
        for file, text in {"type": "Battery", "present": 1, "capacity": round(percent), "status": status, **files}.items():
            self.write(f"sys/class/power_supply/{name}/{file}", text)

    def zone(self, celsius: float, *, trip: float | None = 85.0, kind: str = "passive", number: int = 0) -> None:
        place = f"sys/class/thermal/thermal_zone{number}"
        self.write(f"{place}/type", "x86_pkg_temp")
        self.write(f"{place}/temp", round(celsius * 1_000))
        if trip is not None:
            self.write(f"{place}/trip_point_0_type", kind)
            self.write(f"{place}/trip_point_0_temp", round(trip * 1_000))

    def unplugged(self, percent: float) -> None:
        self.mains(online=False)
        self.battery(percent)

    def plugged(self, percent: float) -> None:
        self.battery(percent, "Charging")
        self.mains(online=True)
