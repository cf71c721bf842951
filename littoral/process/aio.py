"""The parent's side of a worker, for callers that await; worker.py is for those that block."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from littoral.errors import FleetError
from littoral.process.frames import Array, Arrays, BadFrame, LineEnded, Message, reading
from littoral.process.worker import WorkerProcess, WorkerSpec


class AsyncWorker(WorkerProcess):
    """Its calls are awaited, and take turns. A call that is cancelled ends the child: its answer would come to the next call."""

    def __init__(self, spec: WorkerSpec) -> None:
        self._turn = asyncio.Lock()
        super().__init__(spec)
        self._line.setblocking(False)

    @classmethod
    async def start(cls, spec: WorkerSpec, ready_s: float) -> AsyncWorker:
        """One that is ready. Raises what the child could not prepare, and as `call`. Cancelled, it ends the child."""
        worker = cls(spec)
        try:
            await worker.call(worker._first, {}, limit_s=ready_s)
        except BaseException:
            worker.end()
            raise
        return worker

    async def call(
        self, head: Mapping[str, Any], arrays: Arrays, *, limit_s: float | None
    ) -> tuple[dict[str, Any], dict[str, Array]]:
        """One question and its answer. `limit_s`: None: it may take for ever.

        Raises TooLarge, an error that the child answered with, `raised.died`, `raised.hung`.
        """
        async with self._turn:
            parts = self._packed(head, arrays)
            try:
                async with asyncio.timeout(limit_s):
                    return self._answered(await self._pumped(parts))
            except FleetError:  # the child's own answer
                raise
            except TimeoutError as error:
                raise self._late(limit_s or 0.0) from error
            except (BadFrame, OSError) as error:
                raise await asyncio.shield(asyncio.to_thread(self._broken, error)) from error
            except BaseException:
                self.end()
                raise

    async def _pumped(self, parts: list[memoryview]) -> Message:
        loop, frame = asyncio.get_running_loop(), reading(self._spec.most_bytes)
        for part in parts:
            await loop.sock_sendall(self._line, part)
        try:
            while True:
                room = next(frame)
                while room:
                    came = await loop.sock_recv_into(self._line, room)
                    if came == 0:
                        raise LineEnded("no frame: the other side has gone")
                    room = room[came:]
        except StopIteration as done:
            message: Message = done.value
            return message
