"""A process that opens the embedded Redis of a folder, says so, and holds it until its standard input ends.

Run as `python -m tests.kit.redis_owner FOLDER`; prints the socket.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from littoral_cloud.store.embedded import embedded_redis


async def main(folder: Path) -> None:
    async with embedded_redis(folder) as socket:
        print(socket, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
