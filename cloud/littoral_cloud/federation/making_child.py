"""Makes a release of what a run learnt: python -m littoral_cloud.federation.making_child RUN_ID --actor NAME [--worse-too]

It prints one JSON object and ends with status 0: {"release": ID, "notes": [...]}, or {"error": {"code", "message", "hint"}}.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from typing import Any

from littoral.errors import FleetError
from littoral_cloud.app import open_existing
from littoral_cloud.federation.release import release_run
from littoral_cloud.federation.run import read_run
from littoral_cloud.settings import load_settings


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m littoral_cloud.federation.making_child")
    parser.add_argument("run_id")
    parser.add_argument("--actor", required=True)
    parser.add_argument("--worse-too", action="store_true")
    given = parser.parse_args()
    print(json.dumps(asyncio.run(_made(given.run_id, given.actor, given.worse_too))))


async def _made(run_id: str, actor: str, worse_too: bool) -> dict[str, Any]:
    notes: list[str] = []
    try:
        async with open_existing(load_settings()) as core:
            run = await read_run(core.ledger, run_id)
            release = await release_run(core, run, core.clock(), actor=actor, tell=notes.append, worse_too=worse_too)
    except FleetError as error:
        return {"error": error.as_dict()}
    return {"release": release.release_id, "notes": notes}


if __name__ == "__main__":
    main()
