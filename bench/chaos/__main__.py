"""Breaks a fleet in every way that it must survive, one fault after another, while rollouts and federated rounds go on.

    python -m bench.chaos --faults 300 --seed 1
    python -m bench.chaos --faults 300 --seed 1 --parts 1     # one part of it now; the next call goes on
    python -m bench.chaos --first 42 --faults 1 --keep FOLDER  # fault 42 of seed 1 alone, with all logs

After each fault everything must hold: every node answers with the model that the ledger says, nothing that was acknowledged is
gone, nothing was done twice, the rollout ended with a reason, the audit chain is whole. A part has 50 faults and a fleet of its
own; every third part has its Redis under sentinels, the others have one Redis behind a proxy. Each part is kept under
build/chaos; all of them together are written to bench/results/chaos.json. It ends with 1 where something was lost.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.chaos.loop import Outcome, part, tell
from bench.report import Figure, Table, commit, record

PLACE = Path("build/chaos")
PART = 50
SENTINELS_EVERY = 3
NODES, COORDINATORS = 4, 2
COLUMNS = ("faults", "survived", "lost", "longest_s", "seconds", "load", "redis", "kinds", "commit")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--faults", type=int, default=300, help="how many. Default: 300")
    parser.add_argument("--seed", type=int, default=1, help="what they are drawn by. Default: 1")
    parser.add_argument("--parts", type=int, help="at most so many parts now. Default: all that are missing")
    parser.add_argument("--first", type=int, help="play the faults from this number on, and write nothing down")
    parser.add_argument("--keep", type=Path, help="a new folder for data and logs, which stays; else one that is removed")
    given = parser.parse_args()
    if given.first is not None:
        played = _played(given.seed, range(given.first, given.first + given.faults), given.keep)
        return 1 if played["lost"] else 0
    left = given.parts
    for first in range(1, given.faults + 1, PART):
        place = PLACE / f"seed-{given.seed}-from-{first}.json"
        if place.exists() or left == 0:
            continue
        left = left - 1 if left is not None else None
        numbers = range(first, min(first + PART, given.faults + 1))
        keep = given.keep / str(first) if given.keep else None
        row = _played(given.seed, numbers, keep)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps(row, indent=1) + "\n")
        _record(given.seed)
    return 1 if any(row["lost"] for row in _rows(given.seed)) else 0


def _played(seed: int, numbers: Sequence[int], keep: Path | None) -> dict[str, Any]:
    sentinels = (numbers[0] - 1) // PART % SENTINELS_EVERY == SENTINELS_EVERY - 1
    began, load = time.monotonic(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        if keep is not None:
            keep.mkdir(parents=True)
        run = part(
            (keep or Path(folder)).resolve(),
            seed=seed,
            numbers=numbers,
            nodes=NODES,
            coordinators=COORDINATORS,
            sentinels=sentinels,
        )
        outcome: Outcome = asyncio.run(run)
    return asdict(outcome) | {
        "first": numbers[0],
        "last": numbers[-1],
        "redis": "three, under sentinels" if sentinels else "one",
        "seconds": round(time.monotonic() - began, 1),
        "load": round((load + os.getloadavg()[0]) / 2, 1),
        "commit": commit()[:10],
    }


def _rows(seed: int) -> list[dict[str, Any]]:
    rows = [json.loads(place.read_text()) for place in PLACE.glob(f"seed-{seed}-from-*.json")]
    return sorted(rows, key=lambda row: row["first"])


def _record(seed: int) -> None:
    rows = _rows(seed)
    words = f"{NODES} nodes, {COORDINATORS} coordinators, seed {seed}"
    lost = [words for row in rows for words in row["lost"]]
    kinds = sum((Counter(row["kinds"]) for row in rows), Counter[str]())
    longest = max(rows, key=lambda row: row["longest_s"])
    table = Table(
        f"Faults against {words}",
        COLUMNS,
        [
            [
                f"{row['first']} to {row['last']}",
                row["survived"],
                len(row["lost"]),
                row["longest_s"],
                row["seconds"],
                row["load"],
                row["redis"],
                len(row["kinds"]),
                row["commit"],
            ]
            for row in rows
        ],
        [
            "Survived: after the fault everything held (docs/survive.md). load: processes that ran or waited for a core.",
            "Faults by kind: " + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) + ".",
            *(f"Lost: {words}" for words in lost),
        ],
    )
    record(
        "chaos",
        command=f"python -m bench.chaos --faults {rows[-1]['last']} --seed {seed}",
        seconds=sum(row["seconds"] for row in rows),
        figures={
            "faults_survived": Figure.of(sum(row["survived"] for row in rows), "faults", "higher", words),
            "things_lost": Figure.of(len(lost), "things", "lower", words),
            "longest_s": Figure.of(
                longest["longest_s"],
                "s",
                "lower",
                f"from the end of the fault until every node served and the rollout had ended; after: {longest['longest_after']}",
            ),
        },
        table=("faults", table),
        whole="make chaos",
    )
    tell("written to bench/results/chaos.json")


if __name__ == "__main__":
    sys.exit(main())
