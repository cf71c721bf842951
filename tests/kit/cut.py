"""A proxy before a real Redis that can lose one reply: the command ran, and who asked is not told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path


class Cut:
    """Loses the reply to the next command that holds `marker`, by ending its connection once the reply is here."""

    def __init__(self) -> None:
        self.marker: bytes | None = None
        self.lost = 0


@asynccontextmanager
async def cuttable(redis: Path, socket: Path) -> AsyncIterator[Cut]:
    cut = Cut()
    running: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        below, above = await asyncio.open_unix_connection(redis)
        losing = False

        async def up() -> None:
            nonlocal losing
            while data := await reader.read(1 << 16):
                if cut.marker is not None and cut.marker in data:
                    cut.marker, losing = None, True
                above.write(data)
                await above.drain()

        async def down() -> None:
            while data := await below.read(1 << 16):
                if losing:
                    cut.lost += 1
                    return
                writer.write(data)
                await writer.drain()

        ways = {asyncio.create_task(up()), asyncio.create_task(down())}
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            writer.close()
            above.close()
            running.discard(task)

    server = await asyncio.start_unix_server(serve, socket)
    try:
        yield cut
    finally:
        server.close()
        for task in list(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
