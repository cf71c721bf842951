"""Makes one table, or all of them.

python -m bench.factory TABLE [--full]    one table, to bench/results/factory.json
python -m bench.factory all [--full]      every one of them: two at a time while they train, one at a time while they take times

Without --full they take at most an hour on two idle cores; with it every row of each paper and three seeds.
"""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys
import time
from collections.abc import Sequence

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
"""Each module has `made(*, full) -> Part`; one that trains for long and then takes times also `train()`, the former alone."""

ORDER = (
    (("teacher",), ("hinton",)),
    (("deep-compression",), ("methods", "--train")),  # both with the teacher that is kept by now
    (("methods",),),
    (("pruning",),),
    (("throughput",),),
)
"""Of `all`: what stands side by side runs side by side, one thread each. Whatever takes times has the machine for itself."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=(*TABLES, "all"))
    parser.add_argument("--full", action="store_true", help="every row of each paper, three seeds")
    parser.add_argument("--train", action="store_true", help="train its networks and keep them, and no more (methods)")
    given = parser.parse_args()
    if given.table == "all":
        return _all(["--full"] if given.full else [])
    torch.set_num_threads(1)
    module = importlib.import_module(TABLES[given.table])
    tell(f"{given.table}: begins")
    if given.train:
        module.train()
        return 0
    part: Part = module.made(full=given.full)
    command = f"make bench-factory-{given.table}" + (" FULL=--full" if given.full else "")
    whole = "make bench-factory-full" if given.full else "make bench-factory"
    record("factory", command=command, seconds=part.seconds, figures=part.figures, table=(given.table, part.table), whole=whole)
    print(printed(part.table), flush=True)
    return 0


def _all(options: Sequence[str]) -> int:
    began = time.perf_counter()
    for group in ORDER:
        commands = [[sys.executable, "-m", "bench.factory", *part, *options] for part in group]
        running = [subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}) for command in commands]
        ended = [process.wait() for process in running]
        names = " and ".join(part[0] for part in group)
        how = f"failed {ended}" if any(ended) else "done"
        tell(f"{names}: {how}, {time.perf_counter() - began:.0f} s since the beginning")
        if any(ended):
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
