"""Makes one part, or all of them one after another.

python -m bench.search PART    one part, to bench/results/search.json
python -m bench.search all     every one of them
"""

from __future__ import annotations

import argparse
import importlib
import sys

import torch

from bench.factory.kept import tell
from bench.factory.tables import Part
from bench.report import printed, record

PARTS = {
    "kills": "bench.search.kills",
    "workers": "bench.search.workers",
    "hypervolume": "bench.search.hypervolume",
    "smallest": "bench.search.smallest",
}
"""Each module has `made() -> Part`."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=(*PARTS, "all"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    for name in PARTS if given.part == "all" else (given.part,):
        tell(f"{name}: begins")
        part: Part = importlib.import_module(PARTS[name]).made()
        command = f"make bench-search-{name}"
        record(
            "search",
            command=command,
            seconds=part.seconds,
            figures=part.figures,
            table=(name, part.table),
            whole="make bench-search",
        )
        print(printed(part.table), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
