"""This node's part in federated runs: each task is done once, by a warm worker process. No torch, no flwr here.

Level-triggered: `reconcile` takes the task of the desired state, as often as it comes. Another task cancels the one under way;
None ends the worker. A reply is on the disk before it is sent, under the message's id. So a task that comes again, after the
cloud's worker, this agent or the connection died, is answered without training again.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from littoral.digest import digest_of
from littoral.errors import FleetError
from littoral.fleet.v1.session_pb2 import FederatedReply, FederatedTask
from littoral_node.federation.warm import TrainingFailed, WarmWorker, WorkerDied
from littoral_node.identity.files import write_atomic
from littoral_node.transfer.blobs import NodeBlobs

log = logging.getLogger(__name__)

TRIES = 2
"""A worker that dies, by a crash or out of memory, gets the work once more."""

AGAIN_S = 5.0
"""Pause before a task is tried again whose message or reply could not be moved: the cloud is away or refuses."""


class Participant:
    """Args:
    labelled: folder of this node's labelled examples.
    state: folder of our own: cached replies, the worker's log.
    send: hands a reply to the session. It may be lost with the connection; then the same task comes again.
    """

    def __init__(
        self,
        blobs: NodeBlobs,
        labelled: Path,
        state: Path,
        send: Callable[[FederatedReply], None],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._blobs = blobs
        self._state = state
        self._send = send
        self._sleep = sleep
        self._turn = asyncio.Lock()
        self._worker = WarmWorker(labelled, state)
        self._job: asyncio.Task[None] | None = None
        self._job_for = ""  # message id
        self._failures: dict[str, FederatedReply] = {}  # of the present run, by message id; a restart of the agent tries again

    async def reconcile(self, task: FederatedTask | None) -> None:
        """Starts the task that the cloud wants now, and returns. A task that was answered is answered again."""
        async with self._turn:
            if self._job is not None and not self._job.done():
                if task is not None and task.message_id == self._job_for:
                    return
                await _cancelled(self._job)  # and with it the call, which ends the worker
            self._job = None
            if task is None:
                self._worker.end()
                self._forget_replies(None)
                return
            self._forget_replies(task.run_id)
            self._job_for = task.message_id
            self._job = asyncio.create_task(self._answer(task), name=f"federated {task.message_id}")

    @property
    def works(self) -> bool:
        """Whether a task is not answered yet."""
        return self._job is not None and not self._job.done()

    @property
    def worker_pid(self) -> int | None:
        """Of the warm worker process; None: there is none."""
        return self._worker.pid

    async def close(self) -> None:
        """Ends the worker. A task that is still desired is done again after the next start."""
        async with self._turn:
            if self._job is not None:
                await _cancelled(self._job)
            self._worker.end()

    async def _answer(self, task: FederatedTask) -> None:
        """Sends the reply. What fails is logged and tried again, until the task is cancelled."""
        while True:
            try:
                self._send(await self._reply(task))
                return
            except (FleetError, OSError) as error:
                log.warning("federated task %s: %s", task.message_id, error)
            except Exception:
                # Training is a guest here: the agent continues to serve.
                log.exception("federated task %s", task.message_id)
            await self._sleep(AGAIN_S)

    async def _reply(self, task: FederatedTask) -> FederatedReply:
        if task.message_id in self._failures:
            return self._failures[task.message_id]
        cached = self._cache(task)
        data = await asyncio.to_thread(_cached_reply, cached)
        if data is None:
            try:
                data = await self._work(task)
            except (WorkerDied, TrainingFailed) as error:
                self._failures[task.message_id] = FederatedReply(
                    run_id=task.run_id, message_id=task.message_id, failure=error.code, detail=str(error)[:2000]
                )
                return self._failures[task.message_id]
            cached.parent.mkdir(parents=True, exist_ok=True)
            await asyncio.to_thread(write_atomic, cached, hashlib.sha256(data).digest() + data)
        digest = await self._blobs.put(data)
        return FederatedReply(run_id=task.run_id, message_id=task.message_id, reply_digest=digest)

    async def _work(self, task: FederatedTask) -> bytes:
        path = await self._blobs.get(task.message_digest, task.message_bytes)
        message = await asyncio.to_thread(path.read_bytes)
        if digest_of(message) != task.message_digest:  # right when it came, and changed by the disk since
            self._blobs.drop(task.message_digest)
            path = await self._blobs.get(task.message_digest, task.message_bytes)
            message = await asyncio.to_thread(path.read_bytes)
        for last in (*[False] * (TRIES - 1), True):
            try:
                reply = await self._worker.train(message)
            except WorkerDied as error:
                log.warning("federated task %s: %s", task.message_id, error)
                if last:
                    raise
                continue
            self._blobs.drop(task.message_digest)
            return reply
        raise AssertionError("the last try returns or raises")

    # -- replies on the disk: STATE/replies/RUN/MESSAGE, names hashed: ids come from the cloud, and are no file names -------

    def _cache(self, task: FederatedTask) -> Path:
        return self._state / "replies" / _name(task.run_id) / _name(task.message_id)

    def _forget_replies(self, run_id: str | None) -> None:
        """Replies of other runs can never be asked for again."""
        current = None if run_id is None else _name(run_id)
        root = self._state / "replies"
        for folder in list(root.iterdir()) if root.is_dir() else []:
            if folder.name != current:
                for file in list(folder.iterdir()):
                    file.unlink()
                folder.rmdir()
        self._failures = {id: reply for id, reply in self._failures.items() if reply.run_id == run_id}


def _cached_reply(cached: Path) -> bytes | None:
    """A reply that was sent before; None where there is none, or the disk changed it: then the work is done again."""
    try:
        stored = cached.read_bytes()
    except FileNotFoundError:
        return None
    size = hashlib.sha256().digest_size
    if hashlib.sha256(stored[size:]).digest() == stored[:size]:
        return stored[size:]
    log.warning("federated reply %s: was changed by the disk, or is an older agent's: the work is done again", cached.name)
    return None


def _name(id: str) -> str:
    return hashlib.sha256(id.encode()).hexdigest()[:32]


async def _cancelled(job: asyncio.Task[None]) -> None:
    job.cancel()
    await asyncio.wait([job])
