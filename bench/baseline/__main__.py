"""Students beside logistic regression, row by row; a row that is there is not made again.

python -m bench.baseline                      every row, to bench/results/baseline.json after each
python -m bench.baseline --only wine train    the rows of one set, of one command
python -m bench.baseline --again              all of them anew

Rows lie in build/bench/baseline until they are made again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from bench.baseline.rows import COMMANDS, MINUTES, SOURCES, Row, made
from bench.factory.kept import tell
from bench.report import Figure, Table, printed, record

ROOT = Path("build/bench/baseline")
SEEDS = (1, 2, 3)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[], choices=(*SOURCES, *COMMANDS), help="of these sets and commands alone")
    parser.add_argument("--again", action="store_true", help="make rows anew that are there")
    given = parser.parse_args()
    sources = [name for name in SOURCES if name in given.only] or list(SOURCES)
    commands = [name for name in COMMANDS if name in given.only] or list(COMMANDS)
    for command in commands:
        for source in sources:
            for seed in SEEDS:
                place = ROOT / f"{source}-{command}-{seed}.json"
                if place.is_file() and not given.again:
                    continue
                tell(f"{source} {command} {seed}: begins")
                row = made(source, command, seed)
                ROOT.mkdir(parents=True, exist_ok=True)
                place.write_text(json.dumps(asdict(row)))
                tell(f"{source} {command} {seed}: {row.accuracy:.4f} against {row.logistic:.4f}, {row.seconds:.0f} s")
                write(rows())
    write(found := rows())
    print(printed(table_of(found)), flush=True)
    return 0


def rows() -> list[Row]:
    """Those that are there, in the order of the table."""
    places = (ROOT / f"{s}-{c}-{seed}.json" for s in SOURCES for c in COMMANDS for seed in SEEDS)
    return [Row(**json.loads(place.read_text())) for place in places if place.is_file()]


def write(found: Sequence[Row]) -> None:
    record(
        "baseline",
        command="make bench-baseline",
        seconds=sum(row.seconds for row in found),
        figures=figures_of(found),
        table=("students", table_of(found)),
    )


def figures_of(found: Sequence[Row]) -> dict[str, Figure]:
    """Of each set and command: how far the best student is over logistic regression, and its worst class over chance."""
    figures = {}
    for source in SOURCES:
        for command in COMMANDS:
            mine = [row for row in found if (row.source, row.command) == (source, command)]
            if not mine:
                continue
            over = tuple(round(100 * (row.accuracy - row.logistic), 2) for row in mine)
            worst = tuple(round(100 * (row.worst_class - row.chance), 2) for row in mine)
            name, tested = f"{source}_{command}", f"{mine[0].tested} test examples"
            figures[f"{name}_over_logistic"] = Figure(over, "points", "higher", f"the best of the release; {tested}")
            figures[f"{name}_worst_over_chance"] = Figure(worst, "points", "higher", "the worst class of that student")
            if chosen := [row for row in mine if row.chosen]:
                kept = tuple(round(100 * (row.chosen_accuracy - row.logistic), 2) for row in chosen)
                note = "the one that was best on held-out examples, whatever the test split says"
                figures[f"{name}_chosen_over_logistic"] = Figure(kept, "points", "higher", note)
            seconds = tuple(row.seconds for row in mine)
            figures[f"{name}_seconds"] = Figure(seconds, "s", "lower", "one process, one thread")
    return figures


def table_of(found: Sequence[Row]) -> Table:
    """Every row."""
    columns = (
        *("set", "command", "seed", "logistic regression", "best student", "accuracy", "worst class", "bytes"),
        *("chosen by held-out", "its accuracy", "seconds", "ended"),
    )
    return Table(
        "Students beside logistic regression on the same split",
        columns,
        [
            (
                *(row.source, row.command, row.seed, row.logistic, row.best, row.accuracy, row.worst_class, row.bytes),
                *((row.chosen, row.chosen_accuracy) if row.chosen else (None, None)),
                *(row.seconds, row.ended or None),
            )
            for row in found
        ],
        (
            "A seed is an order of the rows, of which every fifth of each class is tested on.",
            "Logistic regression is scikit-learn's as it comes, on features of mean 0 and deviation 1. `linear` is ours.",
            "The best is the most accurate artifact of the release on the test split, which is what a node without limits takes.",
            f"`compress` has {MINUTES} minutes and ends before that when nothing is gained.",
            "Seconds are of one process with one thread, beside whatever else the machine does.",
        ),
    )


if __name__ == "__main__":
    sys.exit(main())
