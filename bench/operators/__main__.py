"""Measures the operator API and the page, a part at a time, and adds what it finds to bench/results/operators.json.

python -m bench.operators api
python -m bench.operators page --quick
python -m bench.operators all
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import sys
import time
from typing import Any, Protocol, cast

from bench.report import Figure, Table, printed, record
from littoral_cloud.api.open_files import raise_limit

PARTS = ("api", "page", "revocation", "checks")
"""Modules of this package. A part that is added here is a word in OPERATORS of the Makefile, too."""


class OperatorsPart(Protocol):
    ABOUT: str

    async def measured(self, *, quick: bool) -> tuple[Table, dict[str, Figure]]: ...


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.operators", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=(*PARTS, "all"))
    parser.add_argument("--quick", action="store_true", help="to see that it runs: few nodes, some seconds; writes nothing down")
    given = parser.parse_args()
    raise_limit()
    for name in PARTS if given.part == "all" else (given.part,):
        part: Any = cast(OperatorsPart, importlib.import_module(f"bench.operators.{name}"))
        began = time.monotonic()
        table, figures = asyncio.run(part.measured(quick=given.quick))
        if not given.quick:
            seconds = time.monotonic() - began
            record("operators", command=f"make bench-operators-{name}", seconds=seconds, figures=figures, table=(name, table))
        sys.stdout.write(printed(table))
    return 0


if __name__ == "__main__":
    sys.exit(main())
