"""A coordinator that only keeps federated runs: `python -m tests.kit.run_keeper DATA`, for tests that kill it."""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

from littoral_cloud.app import open_core
from littoral_cloud.federation.controller import RunController
from littoral_cloud.settings import load_settings


async def main(data: Path) -> None:
    async with open_core(load_settings(data_dir=data)) as core:
        await RunController(core.ledger, data, core.clock, random.Random(1)).run()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
