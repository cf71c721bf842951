"""A TCP proxy that cuts its connections at a random byte, or delays what goes through it; it takes several servers in turn."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

Target = tuple[str, int] | Path
"""(host, port), or a Unix socket."""

CHUNK = 1 << 16


@dataclass(eq=False)
class Link:
    """One connection. `left`: bytes until it is cut, in both directions together; None: it is not."""

    ends: tuple[asyncio.StreamWriter, asyncio.StreamWriter]
    left: int | None = None

    def abort(self) -> None:
        for end in self.ends:
            end.transport.abort()


class Proxy:
    def __init__(self, targets: Sequence[Target]) -> None:
        self.targets = list(targets)
        self.delay_s = 0.0
        self.cuts = 0
        self._cut = asyncio.Event()
        self._turn = 0
        self._links: set[Link] = set()

    async def cut(self, rng: random.Random, within_s: float) -> int:
        """Cuts every open connection after some of the next bytes, and those that are silent after this time; gives how many."""
        before = self.cuts
        for link in self._links:
            link.left = rng.randrange(1_000)
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while any(link.left is not None for link in self._links):
                    self._cut.clear()
                    await self._cut.wait()
        for link in [link for link in self._links if link.left is not None]:
            link.abort()
            self.cuts += 1
        return self.cuts - before

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            below, above = await self._connect()
        except OSError:  # nobody is there: as a refused connection
            writer.transport.abort()
            return
        link = Link((writer, above))
        self._links.add(link)
        ways = {asyncio.create_task(self._pump(link, *way)) for way in ((reader, above), (below, writer))}
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            self._links.discard(link)
            link.abort()
            self._cut.set()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        for _ in self.targets:
            target = self.targets[self._turn % len(self.targets)]
            self._turn += 1
            with suppress(OSError):
                if isinstance(target, Path):
                    return await asyncio.open_unix_connection(target)
                return await asyncio.open_connection(*target)
        raise ConnectionRefusedError("no server answers")

    async def _pump(self, link: Link, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(CHUNK):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                if link.left is not None and len(data) > link.left:
                    sink.write(data[: link.left])
                    await sink.drain()
                    self.cuts += 1
                    return
                if link.left is not None:
                    link.left -= len(data)
                sink.write(data)
                await sink.drain()


@asynccontextmanager
async def proxied(host: str, port: int, targets: Sequence[Target]) -> AsyncIterator[Proxy]:
    proxy = Proxy(targets)
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        try:
            await proxy.serve(reader, writer)
        finally:
            serving.discard(task)

    server = await asyncio.start_server(serve, host, port)
    try:
        yield proxy
    finally:
        server.close()
        for task in list(serving):
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
