"""What each part measured at each number of nodes, under build/bench-fleet/rows: a part's table holds the newest of each.

So a part that runs at 2,000 nodes leaves what it found at 100. Each row says its commit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from bench.fleet.stage import PLACE, Given
from bench.report import Cell, Figure, Table

ROWS = PLACE / "rows"
SHORT = 10

Row = dict[str, Any]
"""JSON values; `nodes`, `seconds`, `commit` and `load` are in each."""


class FleetPart(Protocol):
    """A module of this package."""

    ABOUT: str
    EXAMPLE: str
    NODES: Sequence[int]

    async def measured(self, given: Given) -> Row: ...

    def made(self, rows: Mapping[int, Row]) -> tuple[Table, dict[str, Figure]]: ...


def tell(words: str) -> None:
    print(words, flush=True)


def keep(part: str, row: Row, place: Path = ROWS) -> None:
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{part}-{row['nodes']}.json").write_text(json.dumps(row, indent=1) + "\n")


def kept(part: str, place: Path = ROWS) -> dict[int, Row]:
    """By number of nodes, in order."""
    rows = [json.loads(path.read_text()) for path in place.glob(f"{part}-*.json")]
    return {row["nodes"]: row for row in sorted(rows, key=lambda row: row["nodes"])}


def stamped(row: Row, given: Given, seconds: float, commit: str) -> Row:
    """`commit`: that was checked out when the measurement began."""
    return {"nodes": given.nodes, "seconds": round(seconds, 1), "commit": commit[:SHORT], **row}


def cells(rows: Mapping[int, Row], columns: Sequence[str]) -> list[list[Cell]]:
    return [[row.get(column) for column in columns] for row in rows.values()]


def suffix(nodes: int, measured: Sequence[int]) -> str:
    """Of a figure's name: the goal is for the largest of the numbers of nodes."""
    return "" if nodes == max(measured) else f"_at_{nodes}"


def note_of(row: Row, words: str = "") -> str:
    """Of a figure: what it is, on which commit, and what else the machine did."""
    load = f"other work used {row['load']:.1f} cores" if row.get("load") is not None else ""
    return "; ".join(filter(None, (words, f"{row['nodes']:,} nodes", f"commit {row['commit']}", load)))
