"""Starts the child of one user of littoral.process, prints its id, and waits to be killed.

python -m tests.kit.workers_parent NAME FOLDER
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from tests.kit.workers import USERS, Waits, children_of


async def main(name: str, folder: Path) -> None:
    user = USERS[name]
    async with user.opened(folder, Waits()) as once:
        await once()
        print(json.dumps(children_of(os.getpid(), user.module)), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
