"""Makes one table, or all of them one after another.

python -m bench.factory TABLE [--full]    one table, to bench/results/factory.json
python -m bench.factory all [--full]      every one of them

Without --full the tables take at most an hour together; with it every row of each paper and three seeds.
"""

from __future__ import annotations

import argparse
import importlib
import sys

import torch

from bench.factory.kept import tell
from bench.factory.tables import Part
from bench.report import printed, record

TABLES = {
    "teacher": "bench.factory.teacher",
    "throughput": "bench.factory.throughput",
    "methods": "bench.factory.methods",
    "pruning": "bench.factory.pruning",
    "hinton": "bench.factory.hinton",
    "deep-compression": "bench.factory.deep_compression",
}
"""In this order: later ones use the teacher that the first one keeps. Each module has `made(*, full) -> Part`."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=(*TABLES, "all"))
    parser.add_argument("--full", action="store_true", help="every row of each paper, three seeds")
    given = parser.parse_args()
    torch.set_num_threads(1)
    whole = "make bench-factory-full" if given.full else "make bench-factory"
    for name in TABLES if given.table == "all" else (given.table,):
        tell(f"{name}: begins")
        part: Part = importlib.import_module(TABLES[name]).made(full=given.full)
        command = f"make bench-factory-{name}" + (" FULL=--full" if given.full else "")
        record("factory", command=command, seconds=part.seconds, figures=part.figures, table=(name, part.table), whole=whole)
        print(printed(part.table), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
