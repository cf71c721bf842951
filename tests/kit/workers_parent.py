"""Starts the child of one user of littoral.process, prints its id, and waits to be killed. A one-shot's child is in a call.

python -m tests.kit.workers_parent NAME FOLDER
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from littoral.process import worker
from tests.kit.workers import USERS, Waits, bad_child, child_of_this_process, children_of


async def main(name: str, folder: Path) -> None:
    user = USERS[name]
    async with user.opened(folder, Waits()) as once:
        if user.one_shot:
            worker.command_of = bad_child("hangs")
            calling = asyncio.ensure_future(once())
            print(await child_of_this_process("tests.kit.bad_child"), flush=True)
            await calling
        await once()
        print(*children_of(os.getpid(), user.module), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
