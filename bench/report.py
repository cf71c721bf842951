"""How a benchmark writes down what it found: bench/results/NAME.json, from which docs/benchmarks.md is made.

    {"command", "commit", "machine": {"cpu", "cores", "python"}, "seconds",
     "figures": {FIGURE: {"value", "unit", "better", "goal", "peer", "samples", "note", "table"}},
     "tables": {TABLE: {"title", "command", "commit", "machine", "seconds", "columns", "rows", "notes"}}}

A file may be made in several parts, each by a command of its own: a part replaces its own figures and its own table, and leaves
what the others wrote. `goal` comes from goals.toml beside this file, never from the benchmark that has to reach it.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import statistics
import subprocess
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

RESULTS = Path(__file__).parent / "results"
GOALS = Path(__file__).with_name("goals.toml")

Cell = str | int | float | None
Better = Literal["higher", "lower"]


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure must reach, "at least" or "at most" a bound."""

    better: Better
    bound: float

    def short_by(self, value: float) -> float:
        """How far a value is from the bound, in the figure's own unit; 0 where it is reached."""
        return max(0.0, self.bound - value if self.better == "higher" else value - self.bound)

    def __str__(self) -> str:
        return f"{'>=' if self.better == 'higher' else '<='} {self.bound:g}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One number. With several samples `value` is their median."""

    samples: tuple[float, ...]
    unit: str
    better: Better
    note: str = ""
    peer: tuple[str, float] | None = None  # somebody else's number for the same thing

    @classmethod
    def of(cls, value: float, unit: str, better: Better, note: str = "", peer: tuple[str, float] | None = None) -> Figure:
        return cls((value,), unit, better, note, peer)

    @property
    def value(self) -> float:
        return statistics.median(self.samples)


@dataclass(frozen=True, slots=True)
class Table:
    """`notes` stand below it: what was measured, and where it differs from what it is compared with."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"table {self.title!r}: {len(row)} cells for {len(self.columns)} columns: {row}")


def goals_of(name: str, path: Path = GOALS) -> dict[str, Goal]:
    """The goals of one results file, by figure."""
    goals = {}
    for figure, text in tomllib.loads(path.read_text()).get(name, {}).items():
        sign, bound = text.split()
        goals[figure] = Goal({">=": "higher", "<=": "lower"}[sign], float(bound))  # type: ignore[arg-type]
    return goals


def record(
    name: str,
    *,
    command: str,
    seconds: float,
    figures: Mapping[str, Figure],
    table: tuple[str, Table] | None = None,
    whole: str | None = None,
    results: Path = RESULTS,
) -> None:
    """Writes one part of results/NAME.json, or all of it.

    Args:
        command: that makes this part again.
        seconds: that it took, from nothing: what was kept from an earlier run counts with what it took then.
        figures: of this part; those that an earlier run of the part wrote and this one does not are taken out.
        table: of this part, by its short name; None where the file has no parts.
        whole: the command that makes every part of the file; None where this is the only one.

    Raises:
        ValueError: a figure is better the other way round than its goal says.
    """
    goals, stamp = goals_of(name), {"commit": commit(), "machine": machine()}
    part = table[0] if table else None
    for figure, found in figures.items():
        if figure in goals and goals[figure].better != found.better:
            raise ValueError(f"figure {figure}: {found.better} is better, but its goal is {goals[figure]}")
    with _alone(results):
        place = results / f"{name}.json"
        before: dict[str, Any] = json.loads(place.read_text()) if part and place.is_file() else {}
        tables = dict(before.get("tables", {}))
        if table is not None:
            tables[table[0]] = {"command": command, **stamp, "seconds": round(seconds, 1), **_json_of(table[1])}
        kept = {key: value for key, value in before.get("figures", {}).items() if value.get("table") != part}
        body = {
            "command": whole or command,
            **stamp,
            "seconds": round(sum(t["seconds"] for t in tables.values()) if part else seconds, 1),
            "figures": dict(sorted((kept | {k: _figure_json(f, goals.get(k), part) for k, f in figures.items()}).items())),
            **({"tables": dict(sorted(tables.items()))} if part else {}),
        }
        part_file = place.with_suffix(".part")
        part_file.write_text(json.dumps(body, indent=2, ensure_ascii=False) + "\n")
        part_file.replace(place)


def _figure_json(figure: Figure, goal: Goal | None, part: str | None) -> dict[str, Any]:
    return {
        "value": figure.value,
        "unit": figure.unit,
        "better": figure.better,
        "goal": goal.bound if goal else None,
        "peer": {"name": figure.peer[0], "value": figure.peer[1]} if figure.peer else None,
        "samples": list(figure.samples),
        "note": figure.note,
        **({"table": part} if part else {}),
    }


def _json_of(table: Table) -> dict[str, Any]:
    body = asdict(table)
    return {"title": body.pop("title"), **body}


@contextmanager
def _alone(results: Path) -> Iterator[None]:
    """Two parts that end at once both keep what they found."""
    results.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(results, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def commit() -> str:
    """The commit that is checked out."""
    found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
    return found.stdout.strip()


def machine() -> dict[str, Any]:
    return {"cpu": _cpu(), "cores": os.cpu_count(), "python": platform.python_version()}


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())


def printed(table: Table) -> str:
    """The table as plain text, for a terminal."""
    cells = [list(table.columns), *([shown(cell) for cell in row] for row in table.rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(table.columns))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([table.title, *lines, *table.notes])


def shown(cell: Cell) -> str:
    """A cell as a reader wants it: thousands apart, four digits that count."""
    if cell is None:
        return "-"
    if isinstance(cell, str):
        return cell
    if isinstance(cell, int):
        return f"{cell:,}"
    return f"{cell:,.0f}" if abs(cell) >= 10_000 else f"{cell:.4g}"
