"""A coordinator that only keeps federated runs: `python -m tests.kit.run_keeper DATA`, for tests that kill it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from cloud.app import open_core
from cloud.federation.controller import RunController
from cloud.settings import load_settings


async def main(data: Path) -> None:
    async with open_core(load_settings(data_dir=data)) as core:
        await RunController(core.ledger, data, core.clock).run()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
