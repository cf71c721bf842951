"""Measures the coordinator under load, a part at a time, and adds what it finds to bench/results/fleet.json.

    python -m bench.fleet steady --nodes 500
    python -m bench.fleet rollout --nodes 100,500
    python -m bench.fleet all

A part measures at several numbers of nodes, one after another; what was measured at other numbers before stays in its table. Each
number takes less than 20 minutes but for the soak, which lasts 30. It ends with 0 when it ran to its end, whatever it found.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import sys
import time
from typing import cast

from bench.fleet.rows import FleetPart, keep, kept, stamped, tell
from bench.fleet.stage import Given
from bench.report import commit, printed, record
from littoral_cloud.api.open_files import raise_limit

PARTS = ("steady", "fanout", "rollout", "coordinators", "recovery", "registered", "growth", "soak")
"""Modules of this package. A part that is added here is a word in FLEET of the Makefile, too."""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.fleet", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="part", required=True, metavar="PART")
    for name in (*PARTS, "all"):
        part = None if name == "all" else part_named(name)
        about = part.ABOUT if part else "every part, one after another"
        example = part.EXAMPLE if part else "python -m bench.fleet all"
        own = commands.add_parser(name, help=about, description=f"Measures: {about}.", epilog=f"Example: {example}")
        default = ", ".join(f"{nodes:,}" for nodes in part.NODES) if part else "each part's own"
        own.add_argument("--nodes", type=numbers, help=f"how many nodes; several with commas. Default: {default}")
        own.add_argument("--seconds", type=float, help="how long what is timed may last. Default: the part's own")
        own.add_argument(
            "--quick", action="store_true", help="to see that it runs: 20 nodes and a few seconds; writes nothing down"
        )
    given = parser.parse_args()
    raise_limit()
    for name in PARTS if given.part == "all" else (given.part,):
        run(name, given.nodes, given.seconds, quick=given.quick)
    return 0


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number.replace("_", "")) for number in text.split(","))


def part_named(name: str) -> FleetPart:
    return cast(FleetPart, importlib.import_module(f"bench.fleet.{name}"))


def run(name: str, nodes: tuple[int, ...] | None, seconds: float | None, *, quick: bool = False) -> None:
    part = part_named(name)
    if quick:
        nodes, seconds = nodes or (20,), seconds or 3.0
    rows = {} if quick else kept(name)
    for number in nodes or part.NODES:
        given = Given(number, seconds)
        began, of = time.monotonic(), commit()
        row = stamped(asyncio.run(part.measured(given)), given, time.monotonic() - began, of)
        rows[number] = row
        if not quick:
            keep(name, row)
    rows = dict(sorted(rows.items()))
    table, figures = part.made(rows)
    if not quick:
        record(
            "fleet",
            command=f"make bench-fleet-{name}",
            seconds=sum(row["seconds"] for row in rows.values()),
            figures=figures,
            table=(name, table),
            whole="make bench-fleet",
        )
    tell(printed(table))
    for figure, found in figures.items():
        tell(f"{figure}: {found.value:g} {found.unit}")


if __name__ == "__main__":
    sys.exit(main())
