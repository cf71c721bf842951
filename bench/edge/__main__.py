"""Makes one part of bench/results/edge.json, or all of them one after another.

python -m bench.edge PART [--quick]    one part; --quick: seconds instead of minutes, and nothing is written down
python -m bench.edge all               every one of them
"""

from __future__ import annotations

import argparse
import importlib
import sys

from bench.factory.tables import Part
from bench.report import printed, record

PARTS = {
    "serving": "bench.edge.serving",
    "batching": "bench.edge.batching",
    "swap": "bench.edge.swap",
    "disk": "bench.edge.disk",
    "attacks": "bench.edge.attacks",
    "crash": "bench.edge.crash",
    "agreement": "bench.edge.agreement",
    "fit": "bench.edge.fit",
}
"""Each module has `made(*, quick: bool) -> Part`. A part that is added here is a word in EDGE of the Makefile, too."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=(*PARTS, "all"))
    parser.add_argument("--quick", action="store_true", help="to see that it runs: seconds, and nothing is written down")
    given = parser.parse_args()
    for name in PARTS if given.part == "all" else (given.part,):
        part: Part = importlib.import_module(PARTS[name]).made(quick=given.quick)
        if not given.quick:
            record(
                "edge",
                command=f"make bench-edge-{name}",
                seconds=part.seconds,
                figures=part.figures,
                table=(name, part.table),
                whole="make bench-edge",
            )
        print(printed(part.table), flush=True)
        for figure, found in part.figures.items():
            print(f"{figure}: {found.value:g} {found.unit}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
